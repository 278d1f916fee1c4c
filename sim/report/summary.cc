#include "sim/report/summary.h"

#include <fmt/format.h>

#include <cmath>

#include "sim/base/check.h"
#include "sim/base/version.h"
#include "sim/report/json_text.h"

namespace alchemist {
namespace {

// Of the keys and their meaning; grows when a key changes its meaning or goes.
constexpr int kSchema = 1;

class Entries {
 public:
  void add(std::string key, SummaryValue value) { entries_.push_back({std::move(key), std::move(value)}); }
  void add_optional(std::string key, const std::optional<double>& value) {
    add(std::move(key), value ? SummaryValue(*value) : SummaryValue());
  }
  void add_bytes(std::string key, Bytes bytes) { add(std::move(key), bytes.count()); }
  void add_latency(const std::string& name, const std::optional<LatencySummary>& l) {
    const auto one = [&](const char* statistic, double LatencySummary::*value) {
      add_optional(fmt::format("{}_{}_ms", statistic, name), l ? std::optional((*l).*value) : std::nullopt);
    };
    one("mean", &LatencySummary::mean);
    one("median", &LatencySummary::median);
    one("p90", &LatencySummary::p90);
    one("p95", &LatencySummary::p95);
    one("p99", &LatencySummary::p99);
  }
  std::vector<SummaryEntry> take() { return std::move(entries_); }

 private:
  std::vector<SummaryEntry> entries_;
};

void add_serving(Entries& e, const Summary& s) {
  e.add("completed", s.completed);
  e.add("refused", s.refused);
  e.add("duration_s", s.duration_s);
  e.add("request_throughput", s.request_throughput);
  e.add_optional("request_goodput", s.request_goodput);
  e.add("output_throughput", s.output_throughput);
  e.add_latency("ttft", s.ttft_ms);
  e.add_latency("tpot", s.tpot_ms);
  e.add_latency("itl", s.itl_ms);
  e.add_latency("e2el", s.e2el_ms);
  e.add("num_preemptions", s.num_preemptions);
  e.add("prefix_hit_tokens", s.prefix_hit_tokens);
  e.add("stale_prefix_hit_tokens", s.stale_prefix_tokens);
  e.add("saturated", s.saturated);
}

void add_training(Entries& e, const Summary& s) {
  e.add("train_tokens_per_s", s.train_tokens_per_s);
  e.add_optional("train_tokens_per_gpu_s", s.train_tokens_per_gpu_s);
  e.add("train_samples", s.train_samples);
  e.add("feedback_samples", s.feedback_samples);
  e.add("train_steps", s.train_steps);
  e.add("train_preemptions", s.training.preemptions);
  e.add_optional("train_step_ms", s.train_step_ms);
  e.add_optional("train_forward_ms", s.train_forward_ms);
  e.add_optional("train_restore_stall_ms", s.train_restore_stall_ms);
  e.add_optional("train_backward_ms", s.train_backward_ms);
  e.add_optional("train_gradient_wait_ms", s.train_gradient_wait_ms);
  e.add_optional("train_optimizer_ms", s.train_optimizer_ms);
  e.add_optional("train_recording_ms", s.train_recording_ms);
  e.add_optional("train_redundant_forward_fraction", s.train_redundant_forward_fraction);
  e.add("train_tokens_reused", s.train_tokens_reused);
  e.add("train_tokens_recomputed", s.train_tokens_recomputed);
  e.add("train_tokens_dropped", s.train_tokens_dropped);
  e.add("train_max_tokens", s.training.max_tokens ? SummaryValue(*s.training.max_tokens) : SummaryValue());
  e.add_optional("train_mean_version_lag", s.train_mean_version_lag);
}

void add_resources(Entries& e, const Summary& s) {
  e.add_bytes("peak_weights_bytes", s.peak.weights);
  e.add_bytes("peak_kv_bytes", s.peak.kv);
  e.add_bytes("peak_activations_bytes", s.peak.activations);
  e.add_bytes("peak_training_bytes", s.peak.training);
  e.add_bytes("peak_total_bytes", s.peak_total);
  e.add_bytes("peak_train_side_bytes", s.peak_train_side);
  e.add_bytes("gpu_memory_bytes", s.info.gpu_memory);
  e.add_bytes("peak_host_bytes", s.peak.host);
  e.add_bytes("link_h2d_bytes", s.link_h2d);
  e.add_bytes("link_d2h_bytes", s.link_d2h);
  e.add_optional("link_h2d_utilisation", s.link_h2d_utilisation);
  e.add_optional("link_d2h_utilisation", s.link_d2h_utilisation);
  e.add_optional("gpu_busy_fraction", s.gpu_busy_fraction);
  e.add_bytes("hedge_wasted_bytes", s.training.hedge_wasted_bytes);
  e.add("hedge_wasted_ms", s.training.hedge_wasted_time.in_milliseconds());
  const std::optional<double>& bound = s.training.bound_train_tokens_per_s;
  e.add_optional("bound_train_tokens_per_s", bound);
  e.add_optional("bound_fraction", bound && *bound > 0 ? std::optional(s.train_tokens_per_s / *bound) : std::nullopt);
}

}  // namespace

std::optional<bool> meets(const Slo& slo, const RequestOutcome& outcome) {
  if (!slo.ttft && !slo.tpot && !slo.itl && !slo.e2el) return std::nullopt;
  if (slo.ttft && outcome.ttft() > *slo.ttft) return false;
  if (slo.tpot && outcome.tpot_seconds() > slo.tpot->in_seconds()) return false;
  if (slo.itl && outcome.output_tokens > 1) {
    check(outcome.longest_gap.has_value(), "with a target for ITL a request tells its longest gap");
    if (*outcome.longest_gap > *slo.itl) return false;
  }
  return !(slo.e2el && outcome.e2e() > *slo.e2el);
}

std::vector<SummaryEntry> summary_entries(const Summary& s) {
  Entries e;
  e.add("seed", s.info.seed);
  e.add("hardware", s.info.hardware);
  e.add("model", s.info.model);
  e.add("policy", s.info.policy);
  if (!s.info.device.empty()) e.add("device", s.info.device);
  add_serving(e, s);
  add_training(e, s);
  add_resources(e, s);
  return e.take();
}

std::string summary_json(const Summary& summary) {
  std::string text = fmt::format("{{\n  \"schema\": {},\n  \"engine\": {{\"version\": {}, \"git_hash\": {}}}", kSchema,
                                 json_string(engine_version()), json_string(engine_git_hash()));
  for (const SummaryEntry& entry : summary_entries(summary)) {
    text += fmt::format(",\n  {}: {}", json_string(entry.key), json_value(entry.value));
  }
  return text + "\n}\n";
}

}  // namespace alchemist
