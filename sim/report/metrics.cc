#include "sim/report/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/base/check.h"
#include "sim/report/memory_series.h"

namespace alchemist {
namespace {

constexpr double kPicosecondsPerSecond = 1e12;

std::optional<LatencySummary> latency(const Distribution& d, double units_per_ms) {
  if (d.count() == 0) return std::nullopt;
  constexpr std::array kQuantiles{0.5, 0.9, 0.95, 0.99};
  const std::vector<double> q = d.quantiles(kQuantiles);
  return LatencySummary{*d.mean() / units_per_ms, q[0] / units_per_ms, q[1] / units_per_ms, q[2] / units_per_ms,
                        q[3] / units_per_ms};
}

// None where there is nothing to divide by.
std::optional<double> ratio(double part, double whole) {
  return whole > 0 ? std::optional(part / whole) : std::nullopt;
}

}  // namespace

RunMetrics::RunMetrics(RunInfo info) : info_(std::move(info)) {
  check(info_.replicas >= 1, "a run has a replica");
  busy_spans_.resize(static_cast<std::size_t>(info_.replicas));
}

void RunMetrics::on_request_outcome(const RequestOutcome& o) {
  ++completed_;
  good_ += meets(info_.slo, o).value_or(false);
  output_tokens_ += o.output_tokens;
  preemptions_ += o.preemptions;
  prefix_hit_tokens_ += o.prefix_hit_tokens;
  stale_prefix_tokens_ += o.stale_prefix_tokens;
  ttft_.add(o.ttft().count_ns());
  tpot_.add(std::llround(o.tpot_seconds() * kPicosecondsPerSecond));
  e2el_.add(o.e2e().count_ns());
  trend_.add(o);
  end_ = std::max(end_, o.finished);
}

void RunMetrics::on_serving_span(const ServingSpan& span) {
  add_busy(span.replica, span.start, span.end);
  recording_ += span.recording;
}

void RunMetrics::on_token_gap(Time, Duration gap, std::int64_t count) { itl_.add(gap.count_ns(), count); }

void RunMetrics::on_memory(ReplicaId, Time, const MemoryUse& use) {
  peak_ = largest(peak_, use);
  peak_total_ = std::max(peak_total_, use.total());
  peak_train_side_ = std::max(peak_train_side_, use.activations + use.training);
}

void RunMetrics::on_transfer(const TransferSpan& span) {
  (span.direction == LinkDirection::kHostToDevice ? link_h2d_ : link_d2h_) += span.bytes;
}

void RunMetrics::on_training_span(const TrainingSpan& span) { add_busy(span.replica, span.start, span.end); }

void RunMetrics::on_training_step(const TrainingStep& step) {
  ++steps_;
  step_time_ += step.end - step.start;
  steps_sum_.tokens += step.tokens;
  steps_sum_.samples += step.samples;
  steps_sum_.restore_stall += step.restore_stall;
  steps_sum_.gradient_wait += step.gradient_wait;
  held_ += step.gpu_time + Duration::nanoseconds(step.restore_stall.count_ns() * step.replicas);
  steps_sum_.forward += step.forward;
  steps_sum_.backward += step.backward;
  steps_sum_.optimizer += step.optimizer;
  steps_sum_.gpu_time += step.gpu_time;
  steps_sum_.redundant_forward += step.redundant_forward;
  steps_sum_.reused_tokens += step.reused_tokens;
  steps_sum_.recomputed_tokens += step.recomputed_tokens;
  steps_sum_.dropped_tokens += step.dropped_tokens;
  steps_sum_.reusing_samples += step.reusing_samples;
  steps_sum_.version_lag_sum += step.version_lag_sum;
  end_ = std::max(end_, step.end);
}

// A long span may cover many short ones that ended before it; those that touch are one.
void RunMetrics::add_busy(ReplicaId replica, Time start, Time end) {
  check(replica.value() < busy_spans_.size(), "a replica outside the run's number of replicas");
  std::vector<Span>& spans = busy_spans_[replica.value()];
  while (!spans.empty() && spans.back().end >= start) {
    const Span last = spans.back();
    spans.pop_back();
    busy_ -= last.end - last.start;
    start = std::min(start, last.start);
    end = std::max(end, last.end);
  }
  busy_ += end - start;
  spans.push_back({start, end});
  constexpr std::ptrdiff_t kKept = 512;  // far more than training leaves apart during one run of serving steps
  if (std::ssize(spans) > 2 * kKept) spans.erase(spans.begin(), spans.begin() + kKept);
}

Summary RunMetrics::summary(const TrainingTotals& training) const {
  Summary s;
  s.info = info_;
  s.training = training;
  s.duration_s = end_.in_seconds();
  summarise_requests(s);
  summarise_training(s);
  summarise_resources(s);
  return s;
}

void RunMetrics::summarise_requests(Summary& s) const {
  const auto per_second = [&](std::int64_t count) {
    return ratio(static_cast<double>(count), s.duration_s).value_or(0);
  };
  s.completed = completed_;
  s.request_throughput = per_second(completed_);
  const Slo& slo = info_.slo;
  if (slo.ttft || slo.tpot || slo.itl || slo.e2el) s.request_goodput = per_second(good_);
  s.output_throughput = per_second(output_tokens_);
  s.ttft_ms = latency(ttft_, 1e6);
  s.tpot_ms = latency(tpot_, 1e9);
  s.itl_ms = latency(itl_, 1e6);
  s.e2el_ms = latency(e2el_, 1e6);
  s.num_preemptions = preemptions_;
  s.prefix_hit_tokens = prefix_hit_tokens_;
  s.stale_prefix_tokens = stale_prefix_tokens_;
  s.saturated = trend_.saturated();
}

void RunMetrics::summarise_training(Summary& s) const {
  const TrainingStep& sum = steps_sum_;
  const auto mean_ms = [&](Duration total) { return ratio(total.in_milliseconds(), static_cast<double>(steps_)); };
  s.train_tokens_per_s = ratio(static_cast<double>(sum.tokens), s.duration_s).value_or(0);
  s.train_tokens_per_gpu_s =
      ratio(static_cast<double>(sum.tokens), (held_ + recording_).in_seconds() * info_.gpus_per_replica);
  s.train_samples = sum.samples;
  s.train_steps = steps_;
  s.train_step_ms = mean_ms(step_time_);
  s.train_forward_ms = mean_ms(sum.forward);
  s.train_restore_stall_ms = mean_ms(sum.restore_stall);
  s.train_backward_ms = mean_ms(sum.backward);
  s.train_gradient_wait_ms = mean_ms(sum.gradient_wait);
  s.train_optimizer_ms = mean_ms(sum.optimizer);
  s.train_recording_ms = mean_ms(Duration::nanoseconds(recording_.count_ns() / info_.replicas));
  s.train_redundant_forward_fraction = ratio(sum.redundant_forward.in_seconds(), held_.in_seconds());
  s.train_tokens_reused = sum.reused_tokens;
  s.train_tokens_recomputed = sum.recomputed_tokens;
  s.train_tokens_dropped = sum.dropped_tokens;
  if (sum.reusing_samples > 0) {
    s.train_mean_version_lag =
        ratio(static_cast<double>(sum.version_lag_sum), static_cast<double>(sum.reusing_samples));
  }
}

void RunMetrics::summarise_resources(Summary& s) const {
  const double replica_seconds = s.duration_s * info_.replicas;
  s.peak = peak_;
  s.peak_total = peak_total_;
  s.peak_train_side = peak_train_side_;
  s.link_h2d = link_h2d_ * info_.gpus_per_replica;
  s.link_d2h = link_d2h_ * info_.gpus_per_replica;
  s.link_h2d_utilisation = ratio(link_h2d_.as_double(), info_.link_h2d_bandwidth * replica_seconds);
  s.link_d2h_utilisation = ratio(link_d2h_.as_double(), info_.link_d2h_bandwidth * replica_seconds);
  s.gpu_busy_fraction = ratio(busy_.in_seconds(), replica_seconds);
}

}  // namespace alchemist
