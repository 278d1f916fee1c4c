// Training on replicas of several GPUs, from the experiment to its results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/app/breakeven.h"
#include "sim/app/run_experiment.h"
#include "sim/base/observer_list.h"
#include "sim/report/metrics.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTwoGpuWorkload =
    "{arrivals: {poisson: {rate: 4}}, lengths: {lognormal: {prompt: {median: 600, sigma: 0.6}, output: {median: 80, "
    "sigma: 0.6}}}, requests: 120}";

// Llama-3.1-8B on replicas of two H200.
Experiment experiment(const std::string& policy, const std::string& cluster, const std::string& training = "") {
  return read_experiment(
      YamlValue::parse("model: llama-3.1-8b\nhardware: h200\nworkload: " + std::string(kTwoGpuWorkload) +
                           "\nserving: {tensor_parallel: 2}\ncluster: " + cluster +
                           "\ntraining: {batch_tokens: 4096, max_version_lag: 1000, feedback: {share: 0.6, delay: "
                           "{exponential: 4 s}}" +
                           training + "}\npolicy: " + policy + "\n",
                       "e.yaml"));
}

// Sums what observers are told.
class Watcher final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome& outcome) override {
    ++requests;
    trained += outcome.trained_at.has_value();
    recorded_tokens += outcome.recorded_tokens;
    recorded += outcome.recorded_bytes;
  }
  void on_training_step(const TrainingStep& step) override {
    tokens += step.tokens;
    samples += step.samples;
    held += step.gpu_time + Duration::nanoseconds(step.restore_stall.count_ns() * step.replicas);
  }
  void on_serving_span(const ServingSpan& span) override { held += span.recording; }
  void on_transfer(const TransferSpan& span) override {
    (span.direction == LinkDirection::kHostToDevice ? to_device : to_host) += span.bytes;
  }
  void on_memory(ReplicaId, Time, const MemoryUse& use) override { peak = std::max(peak, use.total()); }

  std::int64_t requests = 0, trained = 0, tokens = 0, samples = 0, recorded_tokens = 0;
  Duration held;
  Bytes recorded, peak, to_device, to_host;
};

struct WatchedRun {
  Watcher watcher;
  Summary summary;
};

WatchedRun run(const Experiment& e) {
  WatchedRun result;
  RunMetrics metrics(run_info(e));
  ObserverList observers{&metrics, &result.watcher};
  result.summary = metrics.summary(run_experiment(e, observers).training);
  return result;
}

// Everything that is told of a replica is told of one of its two GPUs; what is added up over the cluster counts both.
TEST(TensorParallelRun, CountsEveryGpu) {
  const Bytes gpu = experiment("temporal", "{gpus: 4}").hardware.memory;
  for (const char* policy : {"temporal", "token_fill", "reuse", "alchemist", "planned", "oracle"}) {
    const auto [watcher, summary] = run(experiment(policy, "{gpus: 4}"));
    EXPECT_EQ(watcher.requests, 120) << policy;
    EXPECT_GT(watcher.samples, 10) << policy;
    EXPECT_EQ(watcher.trained, watcher.samples) << policy;
    EXPECT_EQ(summary.train_tokens_reused + summary.train_tokens_recomputed, watcher.tokens) << policy;
    EXPECT_EQ(summary.link_h2d, watcher.to_device * 2) << policy;
    EXPECT_EQ(summary.link_d2h, watcher.to_host * 2) << policy;
    EXPECT_EQ(summary.info.gpu_memory, gpu);
    EXPECT_EQ(summary.peak_total, watcher.peak) << policy;
    EXPECT_LE(summary.peak_total, gpu) << policy;
    EXPECT_NEAR(*summary.train_tokens_per_gpu_s * 2 * watcher.held.in_seconds(), static_cast<double>(watcher.tokens),
                1e-3)
        << policy;
    EXPECT_LE(summary.train_tokens_per_s, *summary.training.bound_train_tokens_per_s) << policy;
  }
}

// A token of Llama-3.1-8B in one of 32 layers, on one of two GPUs: x, x_mid 2 x 8,192; rstd 8; q, attention 2 x 4,096;
// k, v 2 x 1,024; lse 64; gate, up 2 x 14,336: 55,368 bytes. `reuse` records whole prompts as long as its memory lasts.
TEST(TensorParallelRun, RecordsAreOneGpusPart) {
  const WatchedRun reuse = run(experiment("reuse", "{gpus: 2}"));
  EXPECT_GT(reuse.watcher.recorded_tokens, 1000);
  EXPECT_EQ(reuse.watcher.recorded, Bytes(32 * 55'368) * reuse.watcher.recorded_tokens);
}

// The same where each of the two keeps half of x and x_mid: 8,192 bytes less. So more of them fit where memory is
// short.
TEST(TensorParallelRun, SequenceParallelRecordsAreSmaller) {
  const std::string cluster = "{gpus: 2}", parallel = ", sequence_parallel: true";
  const Watcher parts = run(experiment("reuse", cluster, parallel)).watcher;
  EXPECT_EQ(parts.recorded, Bytes(32 * (55'368 - 8'192)) * parts.recorded_tokens);
  const std::string scarce = "{base: reuse, gpu_record_share: 0.1}";
  EXPECT_GT(run(experiment(scarce, cluster, parallel)).summary.train_tokens_reused,
            run(experiment(scarce, cluster)).summary.train_tokens_reused);
}

// LoRA of rank 16 on one of two GPUs: A of q, k, v, gate, up 5 x 4096 x 16, B of them 16 x (2048 + 2 x 512 + 2 x 7168),
// A of o and down 16 x (2048 + 7168), B of them 2 x 16 x 4096: 884,736 a layer. 14 bytes of gradient and optimizer
// state each. Logits of 1,024 tokens over half the vocabulary: 1,024 x 64,128 x 6. The rest is the working set of 2,048
// tokens.
TEST(TensorParallelRun, MemoryOfOneGpu) {
  const Experiment e = experiment("alchemist", "{gpus: 4}");
  const ExperimentWorld world(e);
  const SimulationConfig& config = world.config();
  EXPECT_EQ(config.replicas, 2);
  EXPECT_EQ(config.weight_bytes, gpu_shard(e.model, 2).weight_bytes());
  EXPECT_EQ(config.kv_block_bytes, Bytes(16 * (64 << 10)));
  EXPECT_EQ(config.training->trainer.trained_parameters, 32 * 884'736);
  EXPECT_EQ(config.training->trainer.bytes.minimal, Bytes(32 * 55'368));
  const TrainingCost cost(e.hardware, e.model, training_shape_of(e.training), 2, 2);
  EXPECT_EQ(config.training->static_bytes,
            Bytes(32 * 884'736 * 14 + 1024 * 64'128 * 6) +
                cost.working_bytes_per_token() * config.training->trainer.micro_batch_tokens);
  EXPECT_EQ(config.training->store.host_capacity,
            Bytes(static_cast<std::int64_t>(e.hardware.host_memory.as_double() * world.policy().host_record_share)));
}

// Full fine-tuning, by the products of the layers alone: the head runs over answers, which may be short, and is left
// out. A layer has 218,103,808 weights in its products, of which one of two GPUs does half, twice 2 FLOPs backward: 32
// x 436,207,616 = 13,958,643,712 FLOPs a token and GPU. Four GPUs are two replicas, each as fast as one GPU at its
// half: 2 x 989 x 10^12 / 13,958,643,712 tokens a second.
TEST(TensorParallelRun, BoundByCompute) {
  const ExperimentWorld world(experiment("temporal", "{gpus: 4}", ", method: full"));
  SimulationTotals totals;
  totals.end = Time() + Duration::seconds(1);
  totals.feedback_tokens = 1'000'000'000;
  EXPECT_NEAR(world.training()->bound_tokens_per_s(totals), 2 * 989e12 / 13'958'643'712.0, 0.1);
  totals.feedback_tokens = 1000;
  EXPECT_EQ(world.training()->bound_tokens_per_s(totals), 1000);
}

TEST(TensorParallelRun, SeparateReplicasAreGroupsOfGpus) {
  for (const char* policy : {"separate", "separate_checkpoint", "separate_offload"}) {
    const Experiment e = experiment(policy, "{gpus: 6, training_gpus: 4}");
    const ExperimentWorld world(e);
    EXPECT_EQ(world.config().replicas, 1);
    EXPECT_EQ(world.config().training->separate_replicas, 2);
    const auto [watcher, summary] = run(e);
    EXPECT_GT(watcher.samples, 10);
    EXPECT_EQ(watcher.trained, watcher.samples);
    EXPECT_EQ(summary.info.replicas, 3);
    EXPECT_LE(summary.peak_total, summary.info.gpu_memory);
  }
  EXPECT_EQ(message_of([] { experiment("separate", "{gpus: 4, training_gpus: 1}"); }),
            "e.yaml:4: key serving.tensor_parallel: 2 does not divide the GPUs: 4 in all, 3 of them serve, 1 train");
}

// A copy that nobody read was made by both GPUs.
TEST(TensorParallelRun, WastedCopiesAreOfEveryGpu) {
  const ExperimentWorld world(experiment("alchemist", "{gpus: 2}"));
  SimulationTotals totals;
  totals.arrived = 1;
  totals.store.wasted_copies = Bytes(1'000);
  EXPECT_EQ(run_result(totals, world, TrainingWatch(), {}).training.hedge_wasted_bytes, Bytes(2'000));
}

// `training_gpus` is for policies that set GPUs apart. The others serve on all of them, whatever it is.
TEST(TensorParallelRun, PoliciesWithoutGpusApartServeOnAll) {
  for (const char* policy : {"serve_only", "temporal", "alchemist"}) {
    for (const char* cluster : {"{gpus: 2, training_gpus: 1}", "{gpus: 2, training_gpus: 2}"}) {
      EXPECT_EQ(ExperimentWorld(experiment(policy, cluster)).config().replicas, 1) << policy << cluster;
    }
  }
}

// Two replicas hold twice the batch of one. A GPU of two holds half the weights and more than half of each record.
TEST(TensorParallelRun, LargestBatchIsOfAllReplicas) {
  SimulationTotals totals;
  const ExperimentWorld one(experiment("temporal", "{gpus: 2}")), two(experiment("temporal", "{gpus: 4}"));
  const std::int64_t blocks = one.config().kv_blocks;
  EXPECT_EQ(one.config().kv_blocks, two.config().kv_blocks);
  const std::int64_t tokens = one.training()->largest_batch(one.config().kv_blocks, totals);
  EXPECT_EQ(tokens, blocks * 16 * (64 << 10) / (32 * 55'368));
  EXPECT_EQ(two.training()->largest_batch(one.config().kv_blocks, totals), 2 * tokens);
}

// Times that were measured of one of two GPUs, 1 ms forward of 1,024 tokens in a layer: what is added passes between
// them. By the rates of `h200`, 2 x 1,024 x 8,192 bytes in two all-reduces.
class MeasuredSplit : public testing::Test {
 protected:
  MeasuredSplit() {
    folder_.write("profile/dense.csv", "layer,tokens,time_us\nlayer,1,100\nlayer,2048,1000\n");
    folder_.write("profile/per_sequence.csv", "layer,sequences,time_us\nhead,1,200\n");
    folder_.write("profile/attention.csv",
                  "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,1,16,5\n0,0,1,4096,9\n0,0,256,16,20\n"
                  "0,0,256,4096,99\n16,0,0,0,10\n2048,0,0,0,50\n16,0,64,512,30\n2048,0,64,512,90\n");
    folder_.write("profile/training.csv",
                  "kind,tokens,attended_keys,time_us\nforward,1024,1,1000\nbackward,1024,1,2000\nrebuild,1024,0,300\n"
                  "head,1024,0,400\nrecording,1024,0,50\noptimizer,1,0,70\n");
    e_.profile = folder_.path() / "profile";
  }
  void say(const std::string& meta) { folder_.write("profile/meta.yaml", "device: cpu\n" + meta); }

  TemporaryFolder folder_;
  Experiment e_ = experiment("alchemist", "{gpus: 4}");
};

TEST_F(MeasuredSplit, IsPricedWithWhatPassesBetweenTheGpus) {
  say("tensor_parallel: 2\n");
  const ExperimentWorld world(e_);
  TrainingPiece piece;
  piece.kind = PieceKind::kForward;
  piece.tokens = 1024;
  const double between =
      2 * (1024 * 8192 / e_.hardware.interconnect_bandwidth) + 2 * e_.hardware.interconnect_latency.in_seconds();
  EXPECT_NEAR(world.config().training->cost->piece(piece).in_seconds(), 1e-3 + between, 1e-8);
  const WatchedRun done = run(e_);
  EXPECT_EQ(done.watcher.requests, 120);
  EXPECT_GT(done.watcher.samples, 10);
}

TEST_F(MeasuredSplit, OfAnotherDegreeIsRefused) {
  const auto refusal = [&](const std::string& was) {
    return "key serving.tensor_parallel: is 2, but profile " + e_.profile->string() + " was measured on " + was +
           "; expected one by `alchemist calibrate --tensor-parallel 2`";
  };
  EXPECT_EQ(message_of([&] { ExperimentWorld world(e_); }), refusal("a GPU with whole layers"));
  say("");
  EXPECT_EQ(message_of([&] { ExperimentWorld world(e_); }), refusal("a GPU with whole layers"));
  say("tensor_parallel: 4\n");
  EXPECT_EQ(message_of([&] { ExperimentWorld world(e_); }), refusal("one of 4 GPUs"));
  e_.policy = experiment("serve_only", "{gpus: 4}").policy;
  EXPECT_EQ(message_of([&] { make_step_cost(e_); }), refusal("one of 4 GPUs"));
  say("tensor_parallel: 0\n");
  EXPECT_THAT(message_of([&] { make_step_cost(e_); }), HasSubstr("meta.yaml:2: key tensor_parallel: expected"));
}

// Each of two GPUs has a link of its own for its 55,368 of the 94,344 bytes: over a slow link reloading takes as much
// less.
TEST(TensorParallelRun, BreakevenMovesOneGpusPart) {
  const Experiment e = experiment("temporal", "{gpus: 2}");
  const auto reload = [&](std::int32_t gpus) {
    return breakeven_point(e.model, e.hardware, TrainingShape(), 2048, 1e9, gpus).seconds.reload_all;
  };
  EXPECT_NEAR(reload(2) / reload(1), 55'368.0 / 94'344, 1e-3);
}

}  // namespace
}  // namespace alchemist
