#include <fmt/format.h>

#include <algorithm>

#include "sim/report/summary.h"

namespace alchemist {
namespace {

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

std::string number(const std::optional<double>& value, int decimals) {
  return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

std::string row(std::string_view label, std::string_view value) { return fmt::format("  {:<26}{}\n", label, value); }

std::string latency_row(std::string_view label, const std::optional<LatencySummary>& l) {
  if (!l) return fmt::format("  {:<8}{:>12}{:>12}{:>12}{:>12}{:>12}\n", label, "-", "-", "-", "-", "-");
  return fmt::format("  {:<8}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}\n", label, l->mean, l->median, l->p90,
                     l->p95, l->p99);
}

std::string gib(Bytes bytes) { return fmt::format("{:.2f}", bytes.as_double() / kGibibyte); }

// What the phases of a step leave of it: it waits for a gap that serving leaves, or for copies that serving hides.
std::optional<double> waiting_ms(const Summary& s) {
  if (!s.train_step_ms) return std::nullopt;
  double rest = *s.train_step_ms;
  for (const std::optional<double>& phase : {s.train_restore_stall_ms, s.train_forward_ms, s.train_backward_ms,
                                             s.train_gradient_wait_ms, s.train_optimizer_ms}) {
    rest -= phase.value_or(0);
  }
  return std::max(0.0, rest);
}

std::string training_rows(const Summary& s) {
  std::string text = "\ntraining\n";
  text += row("tokens per second", number(s.train_tokens_per_s, 1));
  text += row("tokens per GPU-second", number(s.train_tokens_per_gpu_s, 1));
  text += row("steps, samples", fmt::format("{}, {}", s.train_steps, s.train_samples));
  text += row(
      "step (ms)",
      fmt::format(
          "{} = restore {} + forward {} + backward {} + other replicas {} + optimizer {} + waiting behind serving {}",
          number(s.train_step_ms, 2), number(s.train_restore_stall_ms, 2), number(s.train_forward_ms, 2),
          number(s.train_backward_ms, 2), number(s.train_gradient_wait_ms, 2), number(s.train_optimizer_ms, 2),
          number(waiting_ms(s), 2)));
  text += row("tokens", fmt::format("{} reused, {} recomputed, {} dropped", s.train_tokens_reused,
                                    s.train_tokens_recomputed, s.train_tokens_dropped));
  text += row("mean version lag", number(s.train_mean_version_lag, 3));
  const double to_gpu = s.link_h2d_utilisation.value_or(0), to_host = s.link_d2h_utilisation.value_or(0);
  if (to_gpu > 0 || to_host > 0) {
    text += row("link used", fmt::format("to the GPU {:.1f} %, to the host {:.1f} %", 100 * to_gpu, 100 * to_host));
  }
  return text;
}

}  // namespace

std::string summary_table(const Summary& s) {
  std::string text = fmt::format("{} on {}, policy {}, seed {}\n\nserving\n", s.info.model, s.info.hardware,
                                 s.info.policy, s.info.seed);
  text += row("requests completed", fmt::format("{} in {:.3f} s", s.completed, s.duration_s));
  if (s.refused > 0)
    text += row("requests refused", fmt::format("{}, too long for the memory or the model", s.refused));
  text += row("requests per second", fmt::format("{:.3f}", s.request_throughput));
  if (s.request_goodput) text += row("  that meet the SLO", number(s.request_goodput, 3));
  text += row("output tokens per second", fmt::format("{:.1f}", s.output_throughput));
  text += row("preemptions", fmt::format("{}", s.num_preemptions));
  text += row("prefix cache hits", fmt::format("{} tokens", s.prefix_hit_tokens));
  if (s.stale_prefix_tokens > 0) text += row("  by older weights", fmt::format("{} tokens", s.stale_prefix_tokens));
  text += row("GPU busy", s.gpu_busy_fraction ? fmt::format("{:.1f} %", 100 * *s.gpu_busy_fraction) : "-");
  if (s.saturated) text += row("saturated", "the queue grew for as long as requests arrived");
  text += fmt::format("\n  {:<8}{:>12}{:>12}{:>12}{:>12}{:>12}\n", "ms", "mean", "median", "P90", "P95", "P99");
  text += latency_row("TTFT", s.ttft_ms) + latency_row("TPOT", s.tpot_ms) + latency_row("ITL", s.itl_ms) +
          latency_row("E2E", s.e2el_ms);
  if (s.train_steps > 0 || s.feedback_samples > 0) text += training_rows(s);
  const std::string_view of = s.info.gpus_per_replica > 1 ? "GPU" : "replica";
  text += fmt::format(
      "\nmemory of one {} (GiB), each at its peak\n  weights {}, KV {}, activations {}, training {}; at once at most "
      "{} of {}; host {}\n",
      of, gib(s.peak.weights), gib(s.peak.kv), gib(s.peak.activations), gib(s.peak.training), gib(s.peak_total),
      gib(s.info.gpu_memory), gib(s.peak.host));
  return text;
}

}  // namespace alchemist
