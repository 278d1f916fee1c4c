#include "sim/report/metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "sim/base/check.h"
#include "tests/report/fixtures.h"

namespace alchemist {
namespace {

using nlohmann::json;

RunInfo info(Slo slo = {}) {
  return {.seed = 42,
          .hardware = "h200",
          .model = "tiny",
          .policy = "serve_only",
          .slo = slo,
          .replicas = 2,
          .gpu_memory = Bytes(1000),
          .link_h2d_bandwidth = 10,
          .link_d2h_bandwidth = 0};
}

// Two requests: TTFT 100 and 300 ms, gaps of 10 and 20 ms, 11 and 6 tokens, so E2E 200 and 400 ms; the last ends at 2
// s.
void tell_two_requests(RunMetrics& m) {
  m.on_request_outcome(outcome(0, 0, 50, 100, 10, 11));
  m.on_token_gap(at_ms(0), Duration::milliseconds(10), 10);
  m.on_request_outcome(outcome(1, 1600, 0, 300, 20, 6));
  m.on_token_gap(at_ms(0), Duration::milliseconds(20), 5);
}

TEST(RunMetrics, HandMadeRun) {
  RunMetrics m(info());
  tell_two_requests(m);
  m.on_serving_span({.replica = ReplicaId(0), .start = at_ms(0), .end = at_ms(200)});
  m.on_serving_span({.replica = ReplicaId(1), .start = at_ms(1600), .end = at_ms(2000)});
  m.on_transfer({ReplicaId(0), LinkDirection::kHostToDevice, at_ms(0), at_ms(100), Bytes(8)});
  const json j = json::parse(summary_json(m.summary()));
  EXPECT_EQ(j["schema"], 1);
  EXPECT_TRUE(j["engine"]["version"].is_string());
  EXPECT_TRUE(j["engine"]["git_hash"].is_string());
  EXPECT_EQ(j["seed"], 42);
  EXPECT_EQ(j["completed"], 2);
  EXPECT_DOUBLE_EQ(j["duration_s"], 2.0);
  EXPECT_DOUBLE_EQ(j["request_throughput"], 1.0);
  EXPECT_TRUE(j["request_goodput"].is_null());
  EXPECT_DOUBLE_EQ(j["output_throughput"], 17 / 2.0);
  EXPECT_DOUBLE_EQ(j["mean_ttft_ms"], 200);
  EXPECT_DOUBLE_EQ(j["p90_ttft_ms"], 280);  // 100 + 0.9 * 200
  EXPECT_DOUBLE_EQ(j["median_tpot_ms"], 15);
  EXPECT_DOUBLE_EQ(j["mean_itl_ms"], 200.0 / 15);
  EXPECT_DOUBLE_EQ(j["median_itl_ms"], 10);  // rank 7 of ten tens and five twenties
  EXPECT_DOUBLE_EQ(j["p99_itl_ms"], 20);
  EXPECT_DOUBLE_EQ(j["p99_e2el_ms"], 398);
  EXPECT_DOUBLE_EQ(j["gpu_busy_fraction"], 0.6 / 4.0);      // 200 + 400 ms of two replicas' 2 s each
  EXPECT_DOUBLE_EQ(j["link_h2d_utilisation"], 8.0 / 40.0);  // 10 bytes/s, two links, 2 s
  EXPECT_TRUE(j["link_d2h_utilisation"].is_null());         // there is no such link
  EXPECT_EQ(j["saturated"], false);
}

// Replicas of two GPUs, each with a link that moves as much: 16 bytes in all, the same part of what the links could
// have moved; and twice the GPU-seconds of training.
TEST(RunMetrics, ReplicasOfSeveralGpus) {
  RunInfo pairs = info();
  pairs.gpus_per_replica = 2;
  RunMetrics m(pairs);
  tell_two_requests(m);
  m.on_transfer({ReplicaId(0), LinkDirection::kHostToDevice, at_ms(0), at_ms(100), Bytes(8)});
  m.on_transfer({ReplicaId(0), LinkDirection::kDeviceToHost, at_ms(0), at_ms(100), Bytes(5)});
  TrainingStep step;
  step.end = at_ms(1000);
  step.tokens = 60;
  step.gpu_time = Duration::milliseconds(300);
  m.on_training_step(step);
  const json j = json::parse(summary_json(m.summary()));
  EXPECT_EQ(j["link_h2d_bytes"], 16);
  EXPECT_EQ(j["link_d2h_bytes"], 10);
  EXPECT_NE(summary_table(m.summary()).find("to the GPU 20.0 %, to the host 0.0 %"), std::string::npos);
  EXPECT_DOUBLE_EQ(j["link_h2d_utilisation"], 8.0 / 40.0);
  EXPECT_DOUBLE_EQ(j["train_tokens_per_gpu_s"], 100);
  EXPECT_DOUBLE_EQ(j["train_tokens_per_s"], 30);
}

// The keys of summary.json, in order.
TEST(RunMetrics, SummaryHasItsKeysAndNullsForNothing) {
  const RunMetrics m(info());
  std::string keys;
  for (const SummaryEntry& e : summary_entries(m.summary())) keys += e.key + " ";
  EXPECT_EQ(
      keys,
      "seed hardware model policy completed refused duration_s request_throughput request_goodput output_throughput "
      "mean_ttft_ms median_ttft_ms p90_ttft_ms p95_ttft_ms p99_ttft_ms "
      "mean_tpot_ms median_tpot_ms p90_tpot_ms p95_tpot_ms p99_tpot_ms "
      "mean_itl_ms median_itl_ms p90_itl_ms p95_itl_ms p99_itl_ms "
      "mean_e2el_ms median_e2el_ms p90_e2el_ms p95_e2el_ms p99_e2el_ms "
      "num_preemptions prefix_hit_tokens stale_prefix_hit_tokens saturated train_tokens_per_s train_tokens_per_gpu_s "
      "train_samples "
      "feedback_samples "
      "train_steps train_preemptions train_step_ms train_forward_ms train_restore_stall_ms train_backward_ms "
      "train_gradient_wait_ms train_optimizer_ms "
      "train_recording_ms train_redundant_forward_fraction train_tokens_reused train_tokens_recomputed "
      "train_tokens_dropped "
      "train_max_tokens train_mean_version_lag peak_weights_bytes peak_kv_bytes peak_activations_bytes "
      "peak_training_bytes peak_total_bytes peak_train_side_bytes gpu_memory_bytes peak_host_bytes "
      "link_h2d_bytes link_d2h_bytes "
      "link_h2d_utilisation link_d2h_utilisation gpu_busy_fraction hedge_wasted_bytes hedge_wasted_ms "
      "bound_train_tokens_per_s bound_fraction ");
  const json j = json::parse(summary_json(m.summary()));
  for (const char* zero : {"completed", "duration_s", "request_throughput", "train_tokens_per_s", "hedge_wasted_ms"}) {
    EXPECT_EQ(j[zero], 0) << zero;
  }
  for (const char* none : {"mean_ttft_ms", "p99_itl_ms", "train_step_ms", "train_tokens_per_gpu_s", "train_max_tokens",
                           "bound_fraction", "gpu_busy_fraction", "train_mean_version_lag"}) {
    EXPECT_TRUE(j[none].is_null()) << none;
  }
}

// TTFT target 200 ms: the first request meets it. Every gap at most 10 ms: again only the first. E2E 500 ms: both.
TEST(RunMetrics, GoodputCountsRequestsThatMeetEveryTarget) {
  const auto goodput = [](const Slo& slo) {
    RunMetrics m(info(slo));
    tell_two_requests(m);
    return *m.summary().request_goodput;
  };
  EXPECT_DOUBLE_EQ(goodput({.ttft = Duration::milliseconds(200)}), 0.5);
  EXPECT_DOUBLE_EQ(goodput({.itl = Duration::milliseconds(10)}), 0.5);
  EXPECT_DOUBLE_EQ(goodput({.e2el = Duration::milliseconds(500)}), 1.0);
  EXPECT_DOUBLE_EQ(goodput({.ttft = Duration::milliseconds(100), .tpot = Duration::milliseconds(9)}), 0.0);
  EXPECT_DOUBLE_EQ(goodput({.ttft = Duration::milliseconds(100)}), 0.5) << "as long as it may be";
  EXPECT_EQ(meets({.tpot = Duration::milliseconds(10)}, outcome(0, 0, 0, 500, 10, 5)), true) << "as slow as it may be";
  EXPECT_EQ(meets({.itl = Duration::milliseconds(9)}, outcome(0, 0, 0, 500, 10, 2)), false) << "a single gap";
  // One token has no gap to the next.
  EXPECT_EQ(meets({.itl = Duration::milliseconds(1)}, outcome(0, 0, 0, 500, 0, 1)), true);
  RequestOutcome untold = outcome(0, 0, 0, 1, 1, 5);
  untold.longest_gap.reset();
  EXPECT_THROW(meets({.itl = Duration::milliseconds(1)}, untold), InternalError);
}

// Two steps of two replicas, of 300 and 100 ms with 1000 tokens each; 2 samples with lag 1 and 2 with lag 0. A step has
// 380 ms of pieces, 100 ms of them redundant forward, and each replica stalls for 10 ms and waits for the other's
// gradients for 5 on average; serving spent 50 ms on recording, 12.5 ms a step and replica. So 2000 tokens took
// 2 x (380 + 2 x 10) + 50 = 850 ms, and 2 x 100 of the steps' own 800 ms were redundant.
TEST(RunMetrics, TrainingTotals) {
  RunMetrics m(info());
  TrainingStep step{.version = WeightVersion(1),
                    .replicas = 2,
                    .start = at_ms(100),
                    .end = at_ms(400),
                    .tokens = 1000,
                    .samples = 2,
                    .restore_stall = Duration::milliseconds(10),
                    .forward = Duration::milliseconds(60),
                    .backward = Duration::milliseconds(100),
                    .gradient_wait = Duration::milliseconds(5),
                    .optimizer = Duration::milliseconds(10),
                    .gpu_time = Duration::milliseconds(380),
                    .redundant_forward = Duration::milliseconds(100),
                    .reused_tokens = 600,
                    .recomputed_tokens = 400,
                    .dropped_tokens = 50,
                    .reusing_samples = 1,
                    .version_lag_sum = 2};
  m.on_training_step(step);
  step.start = at_ms(900), step.end = at_ms(1000);
  step.forward = Duration::milliseconds(20);
  step.version_lag_sum = 0;
  m.on_training_step(step);
  m.on_serving_span(
      {.replica = ReplicaId(0), .start = at_ms(0), .end = at_ms(90), .recording = Duration::milliseconds(30)});
  m.on_serving_span(
      {.replica = ReplicaId(1), .start = at_ms(0), .end = at_ms(70), .recording = Duration::milliseconds(20)});
  const Summary s = m.summary({.max_tokens = 8192,
                               .hedge_wasted_bytes = Bytes(5),
                               .hedge_wasted_time = Duration::milliseconds(3),
                               .bound_train_tokens_per_s = 4000});
  EXPECT_DOUBLE_EQ(s.duration_s, 1.0);
  EXPECT_DOUBLE_EQ(s.train_tokens_per_s, 2000);
  EXPECT_DOUBLE_EQ(*s.train_tokens_per_gpu_s, 2000 / 0.85);
  EXPECT_DOUBLE_EQ(*s.train_recording_ms, 12.5);
  EXPECT_DOUBLE_EQ(*s.train_gradient_wait_ms, 5);
  EXPECT_DOUBLE_EQ(*s.train_step_ms, 200);
  EXPECT_DOUBLE_EQ(*s.train_forward_ms, 40);
  EXPECT_DOUBLE_EQ(*s.train_redundant_forward_fraction, 0.25);
  EXPECT_DOUBLE_EQ(*s.train_mean_version_lag, 1) << "two samples had a record, their lags are 2 and 0";
  EXPECT_EQ(s.train_tokens_reused, 1200);
  const json j = json::parse(summary_json(s));
  EXPECT_DOUBLE_EQ(j["bound_fraction"], 0.5);
  EXPECT_EQ(j["train_max_tokens"], 8192);
  EXPECT_EQ(j["hedge_wasted_bytes"], 5);
  EXPECT_NE(summary_table(s).find("tokens per GPU-second"), std::string::npos);
}

// Samples that nobody recorded have no lag: neither is it 0.
TEST(RunMetrics, WithoutRecordsThereIsNoLag) {
  RunMetrics m(info());
  m.on_training_step({.end = at_ms(100), .tokens = 1000, .samples = 4, .recomputed_tokens = 1000});
  const Summary s = m.summary();
  EXPECT_EQ(s.train_samples, 4);
  EXPECT_FALSE(s.train_mean_version_lag);
}

// Peaks of the categories come at different moments; the peak of the total is that of one moment.
TEST(RunMetrics, PeaksByCategoryAndOfTheTotal) {
  RunMetrics m(info());
  m.on_memory(ReplicaId(0), at_ms(0), {.weights = Bytes(10), .kv = Bytes(50), .host = Bytes(1)});
  m.on_memory(ReplicaId(1), at_ms(1),
              {.weights = Bytes(10), .kv = Bytes(13), .activations = Bytes(25), .training = Bytes(7)});
  m.on_memory(ReplicaId(1), at_ms(2), {.weights = Bytes(10), .activations = Bytes(3), .training = Bytes(20)});
  const Summary s = m.summary();
  EXPECT_EQ(s.peak.kv, Bytes(50));
  EXPECT_EQ(s.peak.activations, Bytes(25));
  EXPECT_EQ(s.peak_total, Bytes(60));
  EXPECT_EQ(s.peak_train_side, Bytes(32)) << "25 + 7 at one moment";
  EXPECT_EQ(s.peak.host, Bytes(1));
}

// Overlapping spans of one replica count once: [0, 100] and [50, 150] are 150 ms of the replicas' 2 x 200 ms.
TEST(RunMetrics, OverlappingSpansAreBusyOnce) {
  RunMetrics m(info());
  m.on_request_outcome(outcome(0, 0, 0, 200, 0, 1));
  m.on_serving_span({.replica = ReplicaId(0), .start = at_ms(0), .end = at_ms(100)});
  m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(50), at_ms(150)});
  m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(60), at_ms(70)});
  EXPECT_DOUBLE_EQ(*m.summary().gpu_busy_fraction, 150.0 / 400.0);
}

// Pieces beside a run of steps end before it does: 10-20 and 40-60 lie within 0-100, and 90-120 goes on after it.
TEST(RunMetrics, SpansWithinALaterOneAreBusyOnce) {
  RunMetrics m(info());
  m.on_request_outcome(outcome(0, 0, 0, 200, 0, 1));
  m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(10), at_ms(20)});
  m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(40), at_ms(60)});
  m.on_serving_span({.replica = ReplicaId(0), .start = at_ms(0), .end = at_ms(100)});
  m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(90), at_ms(120)});
  EXPECT_DOUBLE_EQ(*m.summary().gpu_busy_fraction, 120.0 / 400.0);
}

// 1,100 pieces of 1 ms, one every 2 ms, and then a run of serving steps that began with the 601st.
TEST(RunMetrics, ALongSpanFindsTheManyThatEndedWithinIt) {
  RunMetrics m(info());
  m.on_request_outcome(outcome(0, 0, 0, 2200, 0, 1));
  for (std::int64_t i = 0; i < 1100; ++i) {
    m.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(2 * i), at_ms(2 * i + 1)});
  }
  m.on_serving_span({.replica = ReplicaId(0), .start = at_ms(1200), .end = at_ms(2200)});
  EXPECT_DOUBLE_EQ(*m.summary().gpu_busy_fraction, (600.0 + 1000.0) / 4400.0);
}

// Each number has a value of its own, and stands under its own name.
TEST(RunMetrics, SummaryKeysHaveTheirValues) {
  Summary s;
  s.num_preemptions = 1;
  s.prefix_hit_tokens = 2;
  s.stale_prefix_tokens = 3;
  s.train_samples = 4;
  s.feedback_samples = 5;
  s.training.preemptions = 6;
  s.peak = {Bytes(10), Bytes(11), Bytes(12), Bytes(13), Bytes(14)};
  s.peak_total = Bytes(15);
  s.peak_train_side = Bytes(16);
  s.link_h2d = Bytes(17);
  s.link_d2h = Bytes(18);
  const json j = json::parse(summary_json(s));
  const std::map<std::string, int> expected{
      {"num_preemptions", 1},        {"prefix_hit_tokens", 2}, {"stale_prefix_hit_tokens", 3},
      {"train_samples", 4},          {"feedback_samples", 5},  {"train_preemptions", 6},
      {"peak_weights_bytes", 10},    {"peak_kv_bytes", 11},    {"peak_activations_bytes", 12},
      {"peak_training_bytes", 13},   {"peak_host_bytes", 14},  {"peak_total_bytes", 15},
      {"peak_train_side_bytes", 16}, {"link_h2d_bytes", 17},   {"link_d2h_bytes", 18}};
  for (const auto& [key, value] : expected) EXPECT_EQ(j.at(key), value) << key;
}

// Memory in units of 2^30; of the step's 10 ms 4 are forward and 5 backward.
TEST(SummaryTable, UnitsAndColumns) {
  Summary s;
  s.info.replicas = s.info.gpus_per_replica = 1;
  s.info.gpu_memory = Bytes(std::int64_t{80} << 30);
  s.peak.kv = Bytes(std::int64_t{3} << 29);
  s.ttft_ms = LatencySummary{1, 2, 3, 4, 5};
  EXPECT_EQ(summary_table(s).find("training\n"), std::string::npos) << "nothing to train";
  s.feedback_samples = 1;
  EXPECT_NE(summary_table(s).find("steps, samples            0, 0"), std::string::npos)
      << "feedback, and no step of it";
  s.train_steps = 1;
  s.train_step_ms = 10;
  s.train_forward_ms = 4;
  s.train_backward_ms = 5;
  const std::string text = summary_table(s);
  EXPECT_NE(text.find("memory of one replica (GiB)"), std::string::npos) << text;
  EXPECT_NE(text.find("KV 1.50,"), std::string::npos) << text;
  EXPECT_NE(text.find("of 80.00;"), std::string::npos) << text;
  EXPECT_NE(text.find("TTFT            1.00        2.00        3.00        4.00        5.00"), std::string::npos)
      << text;
  EXPECT_NE(text.find("+ waiting behind serving 1.00"), std::string::npos) << text;
  // Replicas stall at different times: what the phases take on average may be more than from the first begin to the
  // end.
  s.train_backward_ms = 7;
  EXPECT_NE(summary_table(s).find("+ waiting behind serving 0.00"), std::string::npos);
}

}  // namespace
}  // namespace alchemist
