// Training beside serving, in the simulated world.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sim/policy/decision_registry.h"
#include "tests/engine/support.h"

namespace alchemist {
namespace {

using testing::LinearCost;
using testing::ListWorkload;
using testing::make_request;
using testing::TextObserver;

ModelShape small_model() {
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

HardwareSpec small_hardware() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = 1;
  hardware.matrix_flops = 1e12;
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
};

Policy policy_of(const Decisions& names) {
  Policy policy;
  policy.fresh = names.fresh;
  policy.record = make_record_decision(names.record);
  policy.place = make_place_decision(names.place);
  policy.evict = make_evict_decision(names.evict);
  policy.restore = make_restore_decision(names.restore);
  policy.train = make_train_decision(names.train);
  return policy;
}

class PieceEstimator final : public Estimator {
 public:
  explicit PieceEstimator(const TrainingCost& cost) : cost_(cost) {}
  Duration piece(const TrainingPiece& piece) const override { return cost_.piece(piece); }
  Duration copy(LinkDirection, Bytes bytes) const override { return Duration::seconds(bytes.as_double() / 1e10); }

 private:
  const TrainingCost& cost_;
};

class TrainingObserver final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& outcome) override {
    EXPECT_TRUE(outcomes.emplace(outcome.id, outcome).second) << "an outcome is told once";
  }
  void on_training_step(const TrainingStep& step) override {
    EXPECT_EQ(step.reused_tokens + step.recomputed_tokens, step.tokens);
    EXPECT_GE(step.end, step.start);
    steps.push_back(step);
  }
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
  std::vector<TrainingStep> steps;
  std::map<LinkDirection, Bytes> moved;
  std::vector<TransferSpan> transfers;
  Bytes peak_activations, peak_host;
};

struct World {
  World() : cost(small_hardware(), small_model(), TrainingShape(), 1), estimator(cost) {}

  SimulationTotals run(const Decisions& names, std::vector<WorkloadRequest> requests, RunObserver& observer,
                       std::int32_t kv_blocks, double share, Duration delay, std::uint64_t seed = 1) {
    SimulationConfig config = testing::small_config(kv_blocks);
    config.serving.async_scheduling = async;
    config.seed = seed;
    config.kv_block_bytes = small_model().kv_bytes_per_token() * config.serving.block_size;
    TrainingSetup& setup = config.training.emplace();
    setup.make_policy = [&names] { return policy_of(names); };
    setup.feedback.share = share;
    setup.feedback.delay.kind = DurationDistribution::Kind::fixed;
    setup.feedback.delay.mean = delay;
    setup.cost = &cost;
    setup.estimator = &estimator;
    HardwareSpec hardware = small_hardware();
    hardware.link_h2d_bandwidth = hardware.link_d2h_bandwidth = link_rate;
    hardware.link_slowdown = link_slowdown;
    setup.link = LinkSpec::from(hardware);
    const std::int64_t layers = small_model().layers;
    setup.store.page_bytes = config.kv_block_bytes;
    setup.store.max_pages = record_pages;
    setup.store.host_capacity = host_capacity;
    setup.store.lean_per_token = cost.record_bytes().lean * layers;
    setup.store.minimal_per_token = cost.record_bytes().minimal * layers;
    setup.store.link_bandwidth = 1e10;
    setup.trainer.training.batch_tokens = batch_tokens;
    setup.trainer.training.max_version_lag = 1000;
    setup.trainer.training.objective = objective;
    setup.trainer.training.reference_model = reference_model;
    setup.trainer.training.group_size = 4;
    setup.trainer.layers = static_cast<std::int32_t>(layers);
    setup.trainer.micro_batch_tokens = 200;
    setup.trainer.trained_parameters = cost.trained_parameters();
    setup.trainer.page_bytes = config.kv_block_bytes;
    setup.trainer.bytes = {setup.store.lean_per_token, setup.store.minimal_per_token,
                           cost.record_bytes().input * layers};
    setup.trainer.window_layers = 2;
    setup.clairvoyant = std::string(names.record) == "foreseen";
    if (names.separate) {
      setup.separate_replicas = 1;
      setup.separate_pages = kv_blocks;
    }
    ListWorkload workload(std::move(requests));
    return Simulation(config, serving_cost, workload, observer).run();
  }

  TrainingCost cost;
  PieceEstimator estimator;
  LinearCost serving_cost{100'000, 1'000, 0};
  std::int64_t batch_tokens = 60;
  std::int32_t record_pages = 2'000;
  Bytes host_capacity{1'000'000'000};
  double link_rate = 1e10;  // bytes/s
  double link_slowdown = 1;
  bool async = false;
  TrainingObjective objective = TrainingObjective::sft;
  bool reference_model = true;
};

Time at_ms(std::int64_t ms) { return Time::from_ns(ms * 1'000'000); }

constexpr Decisions kTemporal{"none", "none", "none", "none", "idle"};
constexpr Decisions kReuse{"minimal", "stay", "oldest", "none", "idle"};

// One request of 50 + 11 tokens gets its feedback 1 ms after its answer and is trained at once; a second request much
// later keeps the run going until then. Without records the step is 4 forward pieces and head, 4 backward pieces and
// the optimizer; with the prompt's record, forward is over the 11 tokens of the answer alone. Every duration is the
// cost model's own; nothing else runs, so the step takes exactly their sum.
TEST(Training, OneSampleByHand) {
  World world;
  const std::vector<WorkloadRequest> requests = {make_request(at_ms(0), 50, 11, 1),
                                                 make_request(at_ms(5'000), 3, 1, 2)};
  const auto piece = [&](PieceKind kind, std::int64_t tokens, double keys) {
    TrainingPiece p;
    p.kind = kind;
    p.tokens = tokens;
    p.attended_keys = keys;
    if (kind == PieceKind::kOptimizer) p.parameters = world.cost.trained_parameters();
    return world.cost.piece(p);
  };
  const double keys = 61 * 62 / 2.0;
  const Duration rest = piece(PieceKind::kHead, 11, keys) + 4 * piece(PieceKind::kBackward, 61, keys) +
                        piece(PieceKind::kOptimizer, 0, 0);
  for (const bool reuse : {false, true}) {
    TrainingObserver observer;
    world.run(reuse ? kReuse : kTemporal, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
    ASSERT_EQ(observer.steps.size(), 1u);
    const TrainingStep& step = observer.steps[0];
    const std::int64_t fresh = reuse ? 11 : 61;
    EXPECT_EQ(step.tokens, 61);
    EXPECT_EQ(step.recomputed_tokens, fresh);
    EXPECT_EQ(step.reused_tokens, 61 - fresh);
    const Duration forward = 4 * piece(PieceKind::kForward, fresh, keys * static_cast<double>(fresh) / 61);
    EXPECT_EQ(step.forward, forward);
    EXPECT_EQ(step.end - step.start, forward + rest);
    const RequestOutcome& outcome = observer.outcomes.at(RequestId(0));
    EXPECT_EQ(outcome.trained_at, step.end);
    EXPECT_EQ(step.start, outcome.finished + Duration::milliseconds(1));
    EXPECT_EQ(outcome.recorded_tokens, reuse ? 50 : 0);
    EXPECT_EQ(outcome.recorded_bytes, world.cost.record_bytes().minimal * 4 * outcome.recorded_tokens);
    EXPECT_FALSE(observer.outcomes.at(RequestId(1)).trained_at.has_value());
  }
}

// As above, but the answer is one of several of 11 tokens each, every one trained behind a copy of the prompt: n copies
// are n * 61 tokens, of which serving computed the prompts (one computation, n copies) and its own answer. The head
// runs over the n * 11 tokens of the answers. With the prompt's record only the answers are computed, of which serving
// had computed one in n. A frozen model runs over all tokens first, whatever records there are.
TEST(Training, PairAndGroupByHand) {
  const std::vector<WorkloadRequest> requests = {make_request(at_ms(0), 50, 11, 1),
                                                 make_request(at_ms(5'000), 3, 1, 2)};
  for (const std::int64_t n : {2, 4}) {
    for (const bool reuse : {false, true}) {
      World world;
      world.objective = n == 2 ? TrainingObjective::dpo : TrainingObjective::grpo;
      world.reference_model = n == 2;
      const double keys = static_cast<double>(n) * 61 * 62 / 2.0;
      const auto piece = [&](PieceKind kind, std::int64_t tokens) {
        TrainingPiece p;
        p.kind = kind;
        p.tokens = tokens;
        p.attended_keys = keys * static_cast<double>(tokens) / static_cast<double>(n * 61);
        if (kind == PieceKind::kOptimizer) p.parameters = world.cost.trained_parameters();
        return world.cost.piece(p);
      };
      TrainingObserver observer;
      world.run(reuse ? kReuse : kTemporal, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
      ASSERT_EQ(observer.steps.size(), 1u);
      const TrainingStep& step = observer.steps[0];
      EXPECT_EQ(step.samples, 1);
      EXPECT_EQ(step.tokens, n * 61);
      EXPECT_EQ(step.reused_tokens, reuse ? n * 50 : 0);
      const std::int64_t fresh = n * (reuse ? 11 : 61), served = (reuse ? 0 : n * 50) + 11;
      Duration reference;
      if (n == 2) reference = 4 * piece(PieceKind::kReference, n * 61) + piece(PieceKind::kReferenceHead, n * 11);
      const Duration forward = 4 * piece(PieceKind::kForward, fresh);
      EXPECT_EQ(step.forward, reference + forward);
      EXPECT_NEAR(step.redundant_forward.in_seconds(),
                  forward.in_seconds() * static_cast<double>(served) / static_cast<double>(fresh), 4e-9);
      const Duration backward = piece(PieceKind::kHead, n * 11) + 4 * piece(PieceKind::kBackward, n * 61);
      EXPECT_EQ(step.backward, backward);
      EXPECT_EQ(step.end - step.start, reference + forward + backward + piece(PieceKind::kOptimizer, 0));
    }
  }
}

// A lost hedge. The first answer gets no feedback, but its record goes to the host all the same: 50 tokens' bytes, 10
// us and their time at 1e9 bytes/s. The second record takes the first one's place on the GPU, where only one fits, and
// then on the host. So the first copy was made and never read. The second one is there at the end: nobody knows yet.
TEST(Training, LostHedgeIsCharged) {
  World world;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  world.link_rate = 1e9;
  world.host_capacity = record + Bytes(1);
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  world.record_pages = static_cast<std::int32_t>((record + page - Bytes(1)) / page);
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  const SimulationTotals totals = world.run(
      names, {make_request(at_ms(0), 50, 3, 1), make_request(at_ms(500), 50, 3, 2)}, observer, 4'000, 0.0, Duration());
  EXPECT_EQ(totals.store.wasted_copies, record);
  EXPECT_EQ(totals.store.wasted_copy_time, Duration::microseconds(10) + Duration::seconds(record.as_double() / 1e9));
  EXPECT_EQ(observer.moved[LinkDirection::kHostToDevice], Bytes());
}

// What keeping 50 tokens' activations adds to their prefill step.
Duration record_time(const World& world) {
  return Duration::seconds((world.cost.record_bytes().minimal * 4 * 50).as_double() / 1e11);
}

// Recording writes the bytes once more: 50 tokens * 4 layers * minimal bytes at 1e11 bytes/s on top of the prefill step
// of 100 us + 50 * 1 us. The first token comes that much later, and nothing else changes.
TEST(Training, RecordingIsCharged) {
  World world;
  TrainingObserver observer;
  world.run(kReuse, {make_request(at_ms(0), 50, 1, 1)}, observer, 4'000, 0.0, Duration());
  const double bytes = (world.cost.record_bytes().minimal * 4 * 50).as_double();
  EXPECT_EQ(observer.outcomes.at(RequestId(0)).first_token,
            Time() + Duration::microseconds(150) + Duration::seconds(bytes / 1e11));
}

// Eager copies: 50 tokens' record goes to the host once. With no room for records on the GPU but while they are made
// (the second prompt's record pushes the first one's pages out), training gets it back over the link: the same bytes.
TEST(Training, HostCopyComesBackOverTheLink) {
  World world;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  const auto pages = [&](Bytes bytes) {
    const Bytes page = small_model().kv_bytes_per_token() * 16;
    return static_cast<std::int32_t>((bytes + page - Bytes(1)) / page);
  };
  world.record_pages = pages(record);
  world.link_rate = 1e9;  // a layer's reload then takes longer than its backward
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  world.run(
      names,
      {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(200), 50, 11, 2), make_request(at_ms(5'000), 3, 1, 3)},
      observer, 4'000, 1.0, Duration::milliseconds(1'000));
  ASSERT_EQ(observer.steps.size(), 2u);
  EXPECT_EQ(observer.steps[0].reused_tokens, 50);
  EXPECT_EQ(observer.steps[0].recomputed_tokens, 11);
  EXPECT_GE(observer.moved[LinkDirection::kDeviceToHost], record + record);
  EXPECT_EQ(observer.moved[LinkDirection::kHostToDevice], record);
  EXPECT_EQ(observer.peak_activations, small_model().kv_bytes_per_token() * 16 * pages(record));
  const TrainingStep& step = observer.steps[0];
  EXPECT_GT(step.restore_stall, Duration()) << "backward waits for the link";
  EXPECT_EQ(step.end - step.start, step.gpu_time + step.restore_stall) << "nothing else runs meanwhile";
}

// A record of 50 tokens goes to the host once the prompt is computed: 10 us of latency, then its bytes at 1e9 a second.
// With slowdown 2 they move at half of that while kernels run. After the prompt come 2 decode steps of 101 us each, and
// then the GPU is idle. So the copy, which takes B / 1e9 alone, has moved (202 - 10) us / 2 when the GPU stops, and
// ends (202 - 10) / 2 us later than it would alone; if 30 steps follow it runs at half speed all the time.
TEST(Training, KernelsSlowCopies) {
  const auto copy_takes = [](double slowdown, std::int32_t output) {
    World world;
    world.link_rate = 1e9;
    world.link_slowdown = slowdown;
    TrainingObserver observer;
    const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
    world.run(names, {make_request(at_ms(0), 50, output, 1), make_request(at_ms(900), 3, 1, 2)}, observer, 4'000, 0.0,
              Duration());
    EXPECT_EQ(observer.transfers.front().start, Time() + Duration::microseconds(150) + record_time(world));
    return observer.transfers.front().end - observer.transfers.front().start;
  };
  const Bytes record = World().cost.record_bytes().minimal * 4 * 50;
  const Duration alone = Duration::microseconds(10) + Duration::seconds(record.as_double() / 1e9);
  ASSERT_GT(alone, Duration::microseconds(202));
  ASSERT_LT(2 * alone, Duration::microseconds(30 * 101));
  EXPECT_EQ(copy_takes(1, 3), alone);
  EXPECT_EQ(copy_takes(2, 3), alone + Duration::microseconds(96));
  EXPECT_EQ(copy_takes(2, 31), 2 * alone - Duration::microseconds(10));
}

// KV has priority. The first request leaves a record of 60 tokens; five more then need 5 * 7 blocks, which are there
// only if the record gives way, and nobody is preempted.
TEST(Training, RecordsGiveWayToServing) {
  World world;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto record_pages = static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * 60) / page) + 1;
  const std::int32_t kv_blocks = record_pages + 6;
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests = {make_request(at_ms(0), 60, 2, 1)};
  for (int i = 0; i < 5; ++i) requests.push_back(make_request(at_ms(100), 40, 60, 10 + i));
  const SimulationTotals totals = world.run(kReuse, requests, observer, kv_blocks, 0.0, Duration());
  EXPECT_EQ(totals.completed, 6);
  EXPECT_EQ(observer.peak_activations, page * record_pages);
  for (const auto& [id, outcome] : observer.outcomes) EXPECT_EQ(outcome.preemptions, 0);
}

// Requests that are preempted after their prompt was recorded compute it again, and nothing is recorded twice.
TEST(Training, PreemptedRequestsKeepTheirOnlyRecord) {
  World world;
  world.record_pages = 40;
  TrainingObserver observer;
  std::vector<WorkloadRequest> requests;
  for (int i = 0; i < 5; ++i) requests.push_back(make_request(at_ms(i), 30, 60, 10 + i));
  world.run({"minimal", "pressure", "oldest", "reload", "idle"}, requests, observer, 20, 0.0, Duration());
  std::int64_t preemptions = 0;
  for (const auto& [id, outcome] : observer.outcomes) {
    preemptions += outcome.preemptions;
    EXPECT_LE(outcome.recorded_tokens, 30 * (1 + outcome.preemptions));
  }
  EXPECT_GT(preemptions, 0) << "otherwise this tests nothing";
}

// A sample whose activations would not fit an empty memory is refused; the next one is trained all the same.
TEST(Training, SampleThatCannotFitIsRefused) {
  World world;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  const auto for_tokens = [&](std::int64_t tokens) {
    return static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * tokens) / page);
  };
  TrainingObserver observer;
  world.batch_tokens = 10;
  const SimulationTotals totals = world.run(
      kTemporal,
      {make_request(at_ms(0), 100, 20, 1), make_request(at_ms(10), 30, 10, 2), make_request(at_ms(900), 3, 1, 3)},
      observer, for_tokens(100), 1.0, Duration::milliseconds(1));
  EXPECT_EQ(totals.trainer.too_long, 1);
  EXPECT_EQ(totals.trainer.samples, 1);
  EXPECT_TRUE(observer.outcomes.at(RequestId(1)).trained_at.has_value());
}

// All combinations of decisions on random traffic, with little memory and with much: requests end, bytes by tier agree
// (checked when the run ends), nothing is trained twice, every trained sample had feedback, reused + recomputed = all.
TEST(Training, EveryPolicyConserves) {
  const std::vector<Decisions> policies = {
      {"none", "none", "none", "none", "whenever", FreshActivations::kKeep, true},
      {"none", "none", "none", "none", "whenever", FreshActivations::kCheckpoint, true},
      {"none", "none", "none", "none", "whenever", FreshActivations::kOffload, true},
      {"none", "none", "none", "none", "headroom"},
      {"none", "none", "none", "none", "token_fill"},
      {"minimal", "stay", "oldest", "none", "headroom"},
      {"lean", "pressure", "oldest", "reload", "idle"},
      {"adaptive", "eager", "oldest", "hedged", "headroom"},
      {"adaptive", "eager", "oldest", "race", "headroom"},
      {"minimal", "eager", "oldest", "planned", "whenever"},
      {"foreseen", "eager", "farthest", "planned", "idle"}};
  std::int64_t trained = 0, reused = 0;
  for (const bool async : {false, true}) {
    for (const std::int32_t kv_blocks : {700, 4'000}) {
      for (const Decisions& names : policies) {
        World world;
        world.async = async;
        world.record_pages = kv_blocks / 2;
        world.host_capacity = Bytes(3'000'000);
        RandomStream random(7, "test");
        std::vector<WorkloadRequest> requests;
        double now = 0;
        for (int i = 0; i < 120; ++i) {
          now += random.exponential(4e6);
          requests.push_back(make_request(Time::from_ns(static_cast<std::int64_t>(now)),
                                          static_cast<std::int32_t>(random.uniform_int(1, 90)),
                                          static_cast<std::int32_t>(random.uniform_int(1, 40)),
                                          static_cast<std::uint64_t>(random.uniform_int(0, 30))));
        }
        TrainingObserver observer;
        const SimulationTotals totals =
            world.run(names, requests, observer, kv_blocks, 0.5, Duration::milliseconds(30));
        EXPECT_EQ(totals.completed, 120);
        EXPECT_EQ(observer.outcomes.size(), 120u);
        std::int64_t told = 0, samples = 0;
        for (const auto& [id, outcome] : observer.outcomes) told += outcome.trained_at ? 1 : 0;
        for (const TrainingStep& step : observer.steps) {
          samples += step.samples;
          reused += step.reused_tokens;
        }
        EXPECT_EQ(told, samples);
        EXPECT_LE(samples, totals.feedback_samples);
        trained += samples;
      }
    }
  }
  EXPECT_GT(trained, 500);
  EXPECT_GT(reused, 1'000);
}

}  // namespace
}  // namespace alchemist
