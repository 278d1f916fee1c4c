// A small model that is trained beside serving in the simulated world, with decisions by their names.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/policy/decision_registry.h"
#include "tests/engine/support.h"
#include "tests/times.h"

namespace alchemist::testing {

inline ModelShape small_model() {
  ModelShape model;
  model.name = "small";
  model.layers = 4;
  model.hidden = 256;
  model.intermediate = 512;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = 64;
  model.vocabulary = 1000;
  model.max_position = 4096;
  return model;
}

inline HardwareSpec small_hardware() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = 1;
  hardware.matrix_flops = 2e12;  // products are made of whole tiles, and batches here are small
  hardware.matrix_efficiency = 1;
  hardware.attention_efficiency = 1;
  hardware.vector_flops = 1e12;
  hardware.link_h2d_bandwidth = 1e10;
  hardware.link_d2h_bandwidth = 1e10;
  hardware.link_duplex_bandwidth = 1.5e10;
  hardware.link_pageable_bandwidth = 1e9;
  hardware.link_latency = Duration::microseconds(10);
  hardware.copy_slowdown = 1;
  hardware.interconnect_bandwidth = 1e10;
  return hardware;
}

struct Decisions {
  const char* record;
  const char* place;
  const char* evict;
  const char* restore;
  const char* train;
  FreshActivations fresh = FreshActivations::kKeep;
  bool separate = false;
  bool record_answers = false;
};

inline Policy policy_of(const Decisions& names, double stretch = Policy().stretch) {
  Policy policy;
  policy.stretch = stretch;
  policy.fresh = names.fresh;
  policy.record_answers = names.record_answers;
  policy.record = make_record_decision(names.record);
  policy.place = make_place_decision(names.place);
  policy.evict = make_evict_decision(names.evict);
  policy.restore = make_restore_decision(names.restore);
  policy.train = make_train_decision(names.train);
  return policy;
}

class PieceEstimator final : public Estimator {
 public:
  PieceEstimator(const TrainingCost& cost, const double& link_rate) : cost_(cost), link_rate_(link_rate) {}
  Duration piece(const TrainingPiece& piece) const override { return cost_.piece(piece); }
  Duration copy(LinkDirection, Bytes bytes) const override { return Duration::seconds(bytes.as_double() / link_rate_); }

 private:
  const TrainingCost& cost_;
  const double& link_rate_;
};

class TrainingObserver final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& outcome) override {
    EXPECT_TRUE(outcomes.emplace(outcome.id, outcome).second) << "an outcome is told once";
  }
  void on_training_step(const TrainingStep& step) override {
    EXPECT_EQ(step.reused_tokens + step.recomputed_tokens + copies, step.tokens);
    EXPECT_GE(step.end, step.start);
    steps.push_back(step);
  }
  void on_training_span(const TrainingSpan& span) override { pieces.push_back(span); }
  void on_transfer(const TransferSpan& span) override {
    moved[span.direction] += span.bytes;
    transfers.push_back(span);
  }
  void on_memory(ReplicaId, Time, const MemoryUse& use) override {
    EXPECT_GE(use.kv, Bytes());
    peak_activations = std::max(peak_activations, use.activations);
    peak_host = std::max(peak_host, use.host);
  }
  std::map<RequestId, RequestOutcome> outcomes;
  std::int64_t copies = 0;  // of prompts, in each step
  std::vector<TrainingStep> steps;
  std::map<LinkDirection, Bytes> moved;
  std::vector<TransferSpan> transfers;
  std::vector<TrainingSpan> pieces;
  Bytes peak_activations, peak_host;
};

struct World {
  World()
      : cost(small_hardware(), small_model(), TrainingShape(), 1),
        beside_cost(share_of(small_hardware(), kShare), small_model(), TrainingShape(), 1),
        estimator(cost, estimated_link_rate) {}

  SimulationTotals run(const Decisions& names, std::vector<WorkloadRequest> requests, RunObserver& observer,
                       std::int32_t kv_blocks, double share, Duration delay, std::uint64_t seed = 1) {
    ListWorkload workload(std::move(requests));
    return Simulation(config(names, kv_blocks, share, delay, seed), serving_cost, workload, observer).run();
  }

  // Points at this world and at the names.
  SimulationConfig config(const Decisions& names, std::int32_t kv_blocks, double share, Duration delay,
                          std::uint64_t seed = 1) {
    SimulationConfig config = small_config(kv_blocks, replicas);
    config.serving.async_scheduling = async;
    config.serving.max_num_batched_tokens = step_tokens;
    config.serving.blocks_known_ahead = blocks_known_ahead;
    config.serving.prefix_caching = prefix_caching;
    config.serving.reset_prefix_cache = reset_prefix_cache;
    config.serving.reserve_full_prompt = reserve_full_prompt;
    config.seed = seed;
    config.host.factors = factors;
    config.host.cold_start = cold_start;
    config.host.steps.single_steps = single_steps;
    config.record_events = record_events;
    config.kv_block_bytes = small_model().kv_bytes_per_token() * config.serving.block_size;
    TrainingSetup& setup = config.training.emplace();
    setup.make_policy = [&names, this] { return policy_of(names, stretch); };
    setup.feedback.share = share;
    setup.feedback.delay.kind = DurationDistribution::Kind::fixed;
    setup.feedback.delay.mean = delay;
    setup.cost = &cost;
    setup.estimator = &estimator;
    HardwareSpec hardware = small_hardware();
    hardware.link_h2d_bandwidth = hardware.link_d2h_bandwidth = link_rate;
    hardware.link_slowdown = link_slowdown;
    if (pageable_rate) {
      hardware.link_pageable_bandwidth = *pageable_rate;
      hardware.host_memory_pinned = false;
    }
    hardware.copy_slowdown = copy_slowdown;
    setup.link = LinkSpec::from(hardware);
    setup.step_host_time = serving_cost.host_time();
    if (beside) {
      setup.beside = {&beside_serving_cost, &beside_cost, small_hardware().memory_bandwidth};
      setup.trainer.gpu_share = kShare;
    }
    const std::int64_t layers = small_model().layers;
    setup.store.page_bytes = config.kv_block_bytes;
    setup.store.max_pages = record_pages;
    setup.store.spare_memory = std::string_view(names.place) == "tiered";
    setup.store.host_capacity = host_capacity;
    setup.store.lean_per_token = cost.record_bytes().lean * layers;
    setup.store.minimal_per_token = cost.record_bytes().minimal * layers;
    setup.store.link_bandwidth = 1e10;
    setup.trainer.training.batch_tokens = batch_tokens;
    setup.trainer.training.max_version_lag = 1000;
    setup.trainer.training.max_itl = max_itl;
    setup.trainer.training.objective = objective;
    setup.trainer.training.reference_model = reference_model;
    setup.trainer.training.group_size = 4;
    setup.trainer.layers = static_cast<std::int32_t>(layers);
    setup.trainer.micro_batch_tokens = 200;
    setup.trainer.trained_parameters = cost.trained_parameters();
    setup.trainer.page_bytes = config.kv_block_bytes;
    setup.trainer.bytes = {setup.store.lean_per_token, setup.store.minimal_per_token,
                           cost.record_bytes().input * layers, cost.record_bytes().keys_and_values * layers};
    setup.trainer.window_layers = 2;
    setup.clairvoyant = std::string(names.record) == "foreseen";
    if (names.separate) {
      setup.separate_replicas = training_replicas;
      setup.separate_pages = kv_blocks;
    }
    return config;
  }

  double estimated_link_rate = 1e10;  // bytes/s
  TrainingCost cost;
  static constexpr double kShare = 0.25;  // of the SMs, for training
  TrainingCost beside_cost;
  PieceEstimator estimator;
  LinearCost serving_cost{100'000, 1'000, 0};
  LinearCost beside_serving_cost{120'000, 2'000, 0};
  bool beside = false;
  std::int64_t batch_tokens = 60;
  std::int32_t record_pages = 2'000;
  Bytes host_capacity{1'000'000'000};
  double link_rate = 1e10;              // bytes/s
  std::optional<double> pageable_rate;  // bytes/s; none: the host's memory is pinned
  double link_slowdown = 1;
  double copy_slowdown = 1;
  ColdStart cold_start;
  PriceFactors factors;
  std::int32_t step_tokens = 64;
  std::optional<Duration> max_itl;
  double stretch = Policy().stretch;
  bool async = false;
  bool blocks_known_ahead = false;  // runs of decode steps end where a request needs a block, as on a real host
  bool single_steps = false;        // one event a step
  bool prefix_caching = true;
  bool reset_prefix_cache = false;
  bool reserve_full_prompt = ServingConfig().reserve_full_prompt;
  std::int32_t replicas = 1;           // that serve
  std::int32_t training_replicas = 1;  // that train, where they are others
  NodeRecorder::Sink record_events;
  TrainingObjective objective = TrainingObjective::sft;
  bool reference_model = true;
};

inline constexpr Decisions kTemporal{"none", "none", "none", "none", "idle"};
inline constexpr Decisions kReuse{"minimal", "stay", "oldest", "none", "idle"};
inline constexpr Decisions kReuseAnswers{"minimal", "stay", "oldest", "none", "idle", FreshActivations::kKeep,
                                         false,     true};

}  // namespace alchemist::testing
