#include "sim/engine/step_book.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr Duration TrainingStep::*kPhases[] = {&TrainingStep::restore_stall, &TrainingStep::forward,
                                               &TrainingStep::backward, &TrainingStep::gradient_wait,
                                               &TrainingStep::optimizer};
constexpr std::int64_t TrainingStep::*kCounts[] = {&TrainingStep::tokens,         &TrainingStep::samples,
                                                   &TrainingStep::reused_tokens,  &TrainingStep::recomputed_tokens,
                                                   &TrainingStep::dropped_tokens, &TrainingStep::reusing_samples,
                                                   &TrainingStep::version_lag_sum};

}  // namespace

std::optional<TrainingStep> StepBook::add(const TrainingStep& part) {
  if (parts_++ == 0) {
    sum_ = part;
  } else {
    check(part.version == sum_.version, "replicas step together");
    sum_.start = std::min(sum_.start, part.start);
    sum_.end = std::max(sum_.end, part.end);
    for (const auto count : kCounts) sum_.*count += part.*count;
    for (const auto phase : kPhases) sum_.*phase += part.*phase;
    sum_.gpu_time += part.gpu_time;
    sum_.redundant_forward += part.redundant_forward;
  }
  if (parts_ < replicas_) return std::nullopt;
  const std::optional<TrainingStep> step = rest();
  parts_ = 0;
  return step;
}

std::optional<TrainingStep> StepBook::rest() const {
  if (parts_ == 0) return std::nullopt;
  TrainingStep step = sum_;
  step.replicas = parts_;
  for (const auto phase : kPhases) step.*phase = Duration::nanoseconds((sum_.*phase).count_ns() / parts_);
  return step;
}

}  // namespace alchemist
