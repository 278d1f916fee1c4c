// One line on stderr that shows how far a long run has come.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>

#include "sim/base/observer.h"

namespace alchemist {

// Rewrites its line at most a few times a second of wall-clock time, and clears it when destroyed. Wall-clock time goes
// nowhere else, so results do not depend on it.
class ProgressLine final : public RunObserver {
 public:
  // `total_requests` where the workload knows it. Writes nothing unless `out` is a terminal.
  explicit ProgressLine(std::optional<std::int64_t> total_requests, std::FILE* out = stderr);
  ~ProgressLine() override;

  void on_request_outcome(const RequestOutcome& outcome) override;
  void on_serving_span(const ServingSpan& span) override;

 private:
  using Clock = std::chrono::steady_clock;
  void tick(Time now);
  void show(Time now, Clock::time_point wall);

  std::optional<std::int64_t> total_;
  std::FILE* out_;
  bool enabled_;
  bool shown_ = false;
  std::int64_t finished_ = 0;
  std::int64_t calls_ = 0;
  Clock::time_point start_;
  Clock::time_point last_shown_;
};

}  // namespace alchemist
