// Collects the numbers of a run while it goes on, in memory that does not grow with finished requests.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/observer.h"
#include "sim/report/distribution.h"
#include "sim/report/queue_trend.h"
#include "sim/report/summary.h"

namespace alchemist {

class RunMetrics final : public RunObserver {
 public:
  explicit RunMetrics(RunInfo info);

  void on_request_outcome(const RequestOutcome& outcome) override;
  void on_serving_span(const ServingSpan& span) override;
  void on_token_gap(Time now, Duration gap, std::int64_t count) override;
  void on_memory(ReplicaId replica, Time now, const MemoryUse& use) override;
  void on_transfer(const TransferSpan& span) override;
  void on_training_span(const TrainingSpan& span) override;
  void on_training_step(const TrainingStep& step) override;

  // What has been seen so far.
  Summary summary(const TrainingTotals& training = {}) const;

 private:
  // Spans come in the order of their ends. Adds one to the replica's busy time; what overlaps others counts once.
  void add_busy(ReplicaId replica, Time start, Time end);
  void summarise_requests(Summary& s) const;
  void summarise_training(Summary& s) const;
  void summarise_resources(Summary& s) const;

  RunInfo info_;
  Distribution ttft_, tpot_, itl_, e2el_;  // nanoseconds, but TPOT in picoseconds (it is a quotient)
  QueueTrend trend_;
  std::int64_t completed_ = 0, good_ = 0, output_tokens_ = 0, preemptions_ = 0, prefix_hit_tokens_ = 0;
  std::int64_t stale_prefix_tokens_ = 0;
  Time end_;

  TrainingStep steps_sum_;  // sums of the fields; start and end unused
  Duration held_;           // GPU time of the steps and stalls, over all replicas
  Duration step_time_;
  Duration recording_;
  std::int64_t steps_ = 0;

  MemoryUse peak_;
  Bytes peak_total_, peak_train_side_;
  Bytes link_h2d_, link_d2h_;
  struct Span {
    Time start, end;
  };
  std::vector<std::vector<Span>> busy_spans_;  // by replica: disjoint, ascending, the latest ones
  Duration busy_;
};

}  // namespace alchemist
