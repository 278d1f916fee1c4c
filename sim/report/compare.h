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
  void on_token_gap(Time now, Duration gap, std::int64_t count) override;
  RunTimes take();

 private:
  ArrivalClock clock_;
  RunTimes run_;
};

struct ComparisonRow {
  std::string metric;     // ttft, tpot, itl, e2el
  std::string statistic;  // mean, p50, p90, p95, p99
  double measured_ms = 0;
  double simulated_ms = 0;
  std::optional<double> error;  // (simulated - measured) / measured; none where measured is 0
};

struct Comparison {
  std::int64_t requests = 0;
  std::vector<ComparisonRow> rows;    // 5 a metric; itl where both runs know their gaps
  double mean_absolute_error = 0;     // over the rows that have an error
  double largest_absolute_error = 0;  // among them
};

// ConfigError unless both have the same requests with the same token counts.
Comparison compare_runs(const RunTimes& measured, const RunTimes& simulated);

std::string comparison_table(const Comparison& comparison);  // for people
std::string comparison_json(const Comparison& comparison);
std::string comparison_csv(const Comparison& comparison);  // metric,statistic,measured_ms,simulated_ms,error

// The empirical distribution functions of both runs as steps: metric,run,value_ms,fraction with run = measured or
// simulated; `fraction` of the requests (itl: of the gaps) took at most `value_ms`. Of many values every so many, so
// that there are some thousand steps at most, and the largest.
std::string distribution_csv(const RunTimes& measured, const RunTimes& simulated);

// Writes comparison.json, comparison.csv and distribution.csv into a directory, all or none of them.
Comparison write_comparison(const std::filesystem::path& directory, const RunTimes& measured,
                            const RunTimes& simulated);

}  // namespace alchemist
