// A workload from a list, a cost that can be computed by hand, and an observer that writes everything down.
#pragma once

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/random.h"
#include "sim/base/workload.h"
#include "sim/engine/simulation.h"

namespace alchemist::testing {

class ListWorkload final : public WorkloadSource {
 public:
  explicit ListWorkload(std::vector<WorkloadRequest> requests) : requests_(std::move(requests)) {}
  std::optional<Time> peek() const override {
    return next_ < requests_.size() ? std::optional(requests_[next_].arrival) : std::nullopt;
  }
  WorkloadRequest next() override { return requests_[next_++]; }
  void on_finished(SessionId, std::int32_t, Time) override {}
  bool exhausted() const override { return next_ == requests_.size(); }
  std::optional<std::int64_t> total_requests() const override { return static_cast<std::int64_t>(requests_.size()); }

 private:
  std::vector<WorkloadRequest> requests_;
  std::size_t next_ = 0;
};

inline WorkloadRequest make_request(Time arrival, std::int32_t prompt, std::int32_t output, std::uint64_t content,
                                    std::int32_t turn = 0) {
  WorkloadRequest request;
  request.arrival = arrival;
  request.session = SessionId(content);
  request.turn = turn;
  request.prompt_tokens = prompt;
  request.output_tokens = output;
  request.content.content_id = content;
  return request;
}

// base + per_token * tokens + per_context * (keys that the step attends to), in nanoseconds, or the host's if that is
// longer: of a host that plans ahead.
class LinearCost final : public StepCost {
 public:
  LinearCost(std::int64_t base_ns, std::int64_t per_token_ns, std::int64_t per_context_ns, std::int64_t host_ns = 0)
      : base_(base_ns), per_token_(per_token_ns), per_context_(per_context_ns), host_(host_ns) {}
  Duration step(const BatchShape& shape) const override {
    return Duration::nanoseconds(std::max(
        host_,
        base_ + per_token_ * shape.tokens() + per_context_ * (shape.decode_context_sum + shape.decode_context_max)));
  }
  Duration host_time() const override { return Duration::nanoseconds(host_); }

 private:
  std::int64_t base_, per_token_, per_context_, host_;
};

// Everything that results are made of, except how steps are grouped into operations.
class TextObserver final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& o) override {
    outcomes.push_back(o);
    text << "request " << o.id.value() << ' ' << o.replica.value() << ' ' << o.arrived.count_ns() << ' '
         << o.scheduled.count_ns() << ' ' << o.first_token.count_ns() << ' ' << o.finished.count_ns() << ' '
         << o.prefix_hit_tokens << ' ' << o.preemptions << ' ' << o.longest_gap.value_or(Duration()).count_ns() << '\n';
  }
  void on_preemption(ReplicaId, RequestId id, Time now) override {
    ++preemptions;
    text << "preempt " << id.value() << ' ' << now.count_ns() << '\n';
  }
  void on_token_gap(Time now, Duration gap, std::int64_t count) override {
    text << "gap " << now.count_ns() << ' ' << gap.count_ns() << ' ' << count << '\n';
  }
  void on_serving_span(const ServingSpan& span) override {
    ++operations;
    steps += span.steps;
  }

  std::ostringstream text;
  std::vector<RequestOutcome> outcomes;
  std::int64_t operations = 0;
  std::int64_t steps = 0;
  std::int64_t preemptions = 0;
};

inline SimulationConfig small_config(std::int32_t kv_blocks, std::int32_t replicas = 1) {
  SimulationConfig config;
  config.serving.max_num_seqs = 8;
  config.serving.max_num_batched_tokens = 64;
  config.serving.async_scheduling = false;
  config.kv_blocks = kv_blocks;
  config.kv_block_bytes = Bytes(1);
  config.replicas = replicas;
  return config;
}

}  // namespace alchemist::testing
