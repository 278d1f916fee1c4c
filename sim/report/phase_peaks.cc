#include "sim/report/phase_peaks.h"

#include <algorithm>
#include <iterator>

#include "sim/report/memory_series.h"

namespace alchemist {
namespace {

MemoryPhase phase_of(TrainingPhase phase) {
  switch (phase) {
    case TrainingPhase::kRestore:
      return MemoryPhase::kRestore;
    case TrainingPhase::kForward:
      return MemoryPhase::kForward;
    case TrainingPhase::kBackward:
      return MemoryPhase::kBackward;
    case TrainingPhase::kOptimizer:
      break;
  }
  return MemoryPhase::kOptimizer;
}

}  // namespace

void SlidingPeak::set(Time now, Bytes value) {
  if (!entries_.empty()) entries_.back().until = now;
  while (!entries_.empty() && entries_.back().value <= value) entries_.pop_back();
  entries_.push_back({value, Time::max()});
}

// Asked for is what was not long ago: it is looked for from the present backwards.
Bytes SlidingPeak::since(Time start) const {
  auto first = entries_.rbegin();
  if (first == entries_.rend()) return Bytes();
  while (std::next(first) != entries_.rend() && std::next(first)->until > start) ++first;
  return first->value;
}

void SlidingPeak::forget_before(Time start) {
  while (!entries_.empty() && entries_.front().until <= start) entries_.pop_front();
}

PhasePeaks::Replica& PhasePeaks::at(ReplicaId replica) {
  if (replica.value() >= replicas_.size()) replicas_.resize(replica.value() + 1);
  return replicas_[replica.value()];
}

void PhasePeaks::on_memory(ReplicaId replica, Time now, const MemoryUse& use) {
  Replica& of = at(replica);
  of.weights.set(now, use.weights);
  of.kv.set(now, use.kv);
  of.activations.set(now, use.activations);
  of.training.set(now, use.training);
  of.host.set(now, use.host);
  of.total.set(now, use.total());
}

void PhasePeaks::on_serving_span(const ServingSpan& span) {
  Replica& of = at(span.replica);
  of.serving = span.start;
  on_span(of, span.prefill_tokens > 0 ? MemoryPhase::kPrefill : MemoryPhase::kDecode, span.start);
}

void PhasePeaks::on_training_span(const TrainingSpan& span) {
  Replica& of = at(span.replica);
  of.training_piece = span.start;
  on_span(of, phase_of(span.phase), span.start);
}

void PhasePeaks::on_span(Replica& of, MemoryPhase phase, Time start) {
  PhasePeak& peak = peaks_[static_cast<std::size_t>(phase)];
  ++peak.operations;
  peak.peak = largest(peak.peak, {of.weights.since(start), of.kv.since(start), of.activations.since(start),
                                  of.training.since(start), of.host.since(start)});
  peak.peak_total = std::max(peak.peak_total, of.total.since(start));
  const Time asked_for = std::min(of.serving, of.training_piece);
  for (SlidingPeak* each : {&of.weights, &of.kv, &of.activations, &of.training, &of.host, &of.total})
    each->forget_before(asked_for);
}

}  // namespace alchemist
