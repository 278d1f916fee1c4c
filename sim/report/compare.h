// How far a simulated run is from a measured run of the same workload.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/base/observer.h"
#include "sim/report/measured_run.h"

namespace alchemist {

// When a request arrives: as the engine takes it in, which looks for new ones between steps, or as the client sends it.
enum class ArrivalClock { kEngine, kClient };

// Keeps the times of every request of a (small) run; by request number when taken. Arrivals are those of the clock by
// which the other run was measured (read_measured_requests: the engine's), so that both are counted alike.
class RequestTimesRecorder final : public RunObserver {
 public:
  explicit RequestTimesRecorder(ArrivalClock clock = ArrivalClock::kEngine) : clock_(clock) {}
  void on_request_outcome(const RequestOutcome& outcome) override;
  std::vector<RequestTimes> take();

 private:
  ArrivalClock clock_;
  std::vector<RequestTimes> requests_;
};

struct ComparisonRow {
  std::string metric;     // ttft, tpot, e2el
  std::string statistic;  // mean, p50, p90, p95, p99
  double measured_ms = 0;
  double simulated_ms = 0;
  std::optional<double> error;  // (simulated - measured) / measured; none where measured is 0
};

struct Comparison {
  std::int64_t requests = 0;
  std::vector<ComparisonRow> rows;    // 15, metric by metric
  double mean_absolute_error = 0;     // over the rows that have an error
  double largest_absolute_error = 0;  // among them
};

// Both by request number. ConfigError unless they have the same requests with the same token counts.
Comparison compare_runs(std::span<const RequestTimes> measured, std::span<const RequestTimes> simulated);

std::string comparison_table(const Comparison& comparison);  // for people
std::string comparison_json(const Comparison& comparison);
std::string comparison_csv(const Comparison& comparison);  // metric,statistic,measured_ms,simulated_ms,error

// The empirical distribution functions of both runs as steps: metric,run,value_ms,fraction with run = measured or
// simulated; `fraction` of the requests took at most `value_ms`.
std::string distribution_csv(std::span<const RequestTimes> measured, std::span<const RequestTimes> simulated);

// Writes comparison.json, comparison.csv and distribution.csv into a directory, all or none of them.
Comparison write_comparison(const std::filesystem::path& directory, std::span<const RequestTimes> measured,
                            std::span<const RequestTimes> simulated);

}  // namespace alchemist
