#include "sim/model/training_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sim/base/check.h"
#include "sim/model/all_reduce.h"
#include "sim/model/backward_schedule.h"
#include "sim/model/record_set.h"

namespace alchemist {
namespace {

constexpr std::int64_t kOptimizerBytesPerParameter = 12;  // Adam: two moments and the master weight in f32
constexpr double kDownOfGateUp = 0.5;  // measured: the down product is as large as either that makes gate and up

Bytes set_bytes(const LayerGraph& graph, const TrainingShape& training, const char* name) {
  const auto set = find_record_set(graph, name);
  check(set.has_value(), "the named record sets exist");
  return training.sequence_parallel ? set->split_bytes_per_token : set->bytes_per_token;
}

// Bytes a second.
double memory_rate(const HardwareSpec& hardware) { return hardware.memory_bandwidth * hardware.memory_efficiency; }

std::vector<Kernel> adapters_among(std::vector<Kernel> kernels) {
  std::erase_if(kernels, [](const Kernel& kernel) { return !kernel.adapter; });
  return kernels;
}

// Of which layer they are, and where in it they begin, makes no difference.
bool cost_the_same(const TrainingPiece& a, const TrainingPiece& b) {
  return a.kind == b.kind && a.tokens == b.tokens && a.parameters == b.parameters &&
         a.attended_keys == b.attended_keys && a.rebuild_tokens == b.rebuild_tokens &&
         a.recorded_targets == b.recorded_targets && a.checkpoint_tokens == b.checkpoint_tokens &&
         a.adapter_changes == b.adapter_changes;
}

}  // namespace

TrainingCost::TrainingCost(const HardwareSpec& hardware, const ModelShape& model, const TrainingShape& training,
                           std::int32_t replicas, std::int32_t tensor_parallel, std::optional<TrainingProfile> profile)
    : hardware_(hardware),
      profile_(std::move(profile)),
      layers_(model.layers),
      replicas_(replicas),
      tensor_parallel_(tensor_parallel) {
  const LayerGraph graph = build_layer_graph(model, training, tensor_parallel);
  const auto times_of = [&](const std::vector<Kernel>& kernels) {
    return KernelTimes(kernels, hardware, tensor_parallel);
  };
  const LayerCosts layer = layer_costs(graph);
  forward_ = times_of(layer.forward.kernels);
  const std::vector<Kernel> backward = backward_kernels(graph, minimal_tensors(graph));
  backward_ = times_of(backward);
  adapters_forward_ = times_of(adapters_among(layer.forward.kernels));
  adapters_backward_ = times_of(adapters_among(backward));
  gradient_sums_ = layer.gradient_sums;
  const HeadCosts head = head_costs(model, training, tensor_parallel);
  head_forward_ = times_of(head.forward.kernels);
  head_backward_ = times_of(head.backward.kernels);
  TrainingShape frozen = training;
  frozen.lora_modules.clear();
  reference_ = times_of(layer_costs(build_layer_graph(model, frozen, tensor_parallel)).forward.kernels);
  record_bytes_.lean = set_bytes(graph, training, "lean");
  record_bytes_.minimal = set_bytes(graph, training, "minimal");
  record_bytes_.gate_up = record_bytes_.minimal - record_bytes_.lean;
  record_bytes_.input = set_bytes(graph, training, "input");
  rebuild_gate_up_ = times_of(rebuild_plan(graph, lean_tensors(graph), gate_and_up(graph)).kernels);
  output_from_record_ = times_of(rebuild_plan(graph, minimal_tensors(graph), std::array{graph.output}).kernels);
  trained_parameters_ = alchemist::trained_parameters(model, training, tensor_parallel);
  gradient_bytes_per_parameter_ = model.dtype_bytes;
  record_bytes_.keys_and_values = Bytes(2 * gpu_shard(model, tensor_parallel).kv_width() * model.dtype_bytes);
  working_bytes_per_token_ = Bytes(backward_schedule(graph, minimal_tensors(graph)).peak_working_bytes_per_token);
  if (!training.sequence_parallel) return;
  for (const TensorId tensor : minimal_tensors(graph)) {
    if (graph[tensor].spec.copies == 1) continue;
    gathered_bytes_.push_back(static_cast<double>(graph[tensor].bytes_per_token()));
    working_bytes_per_token_ += Bytes(graph[tensor].bytes_per_token());
  }
}

Bytes TrainingCost::state_bytes() const {
  return Bytes(trained_parameters_ * (gradient_bytes_per_parameter_ + kOptimizerBytesPerParameter));
}

// Reads gradients, moments and master weights, writes all but the gradients, and the weights.
double TrainingCost::optimizer_bytes(std::int64_t parameters) const {
  const auto updated = static_cast<double>(parameters);
  const double gradients = updated * static_cast<double>(gradient_bytes_per_parameter_);
  const double moments = updated * kOptimizerBytesPerParameter;
  return 2 * (gradients + moments);
}

// The weights that end are read and written elsewhere.
double TrainingCost::keeping_bytes(std::int64_t parameters) const {
  return keeps_weights_ ? 2 * static_cast<double>(parameters * gradient_bytes_per_parameter_) : 0;
}

double TrainingCost::optimizer_seconds(std::int64_t parameters) const {
  return optimizer_bytes(parameters) / memory_rate(hardware_) + hardware_.kernel_overhead.in_seconds();
}

// Over the replicas, each GPU with those that hold the same of the others; and, for its share of `parameters`, over the
// GPUs of a replica of what lies on several of them.
double TrainingCost::gradient_sum_seconds(std::int64_t parameters) const {
  const auto gradients = static_cast<double>(parameters * gradient_bytes_per_parameter_);
  double seconds = all_reduce_seconds(hardware_, replicas_, gradients);
  for (const GradientSum& sum : gradient_sums_) {
    const double share = static_cast<double>(sum.parameters * layers_) / static_cast<double>(trained_parameters_);
    seconds += all_reduce_seconds(hardware_, sum.gpus, share * gradients);
  }
  if (sends_weights_) seconds += gradients / hardware_.interconnect_bandwidth;  // weights are as many bytes
  return seconds;
}

double TrainingCost::measured_seconds(const TrainingPiece& piece) const {
  const auto tokens = static_cast<double>(piece.tokens);
  double us = 0;
  switch (piece.kind) {
    case PieceKind::kReference:  // as dear as with adapters, which the profile has measured
    case PieceKind::kForward:
      us = profile_->forward.at(tokens, piece.attended_keys);
      break;
    case PieceKind::kHead:
      us = profile_->head.at(tokens);
      if (piece.rebuild_tokens > 0) us += profile_->rebuild.at(static_cast<double>(piece.rebuild_tokens));
      if (piece.recorded_targets > 0)
        us += kDownOfGateUp * profile_->rebuild.at(static_cast<double>(piece.recorded_targets));
      break;
    case PieceKind::kReferenceHead: {  // measured with its backward, of which this is the part that it should be
      TrainingPiece both = piece;
      both.kind = PieceKind::kHead;
      const auto computing = [this](const TrainingPiece& p) { return analytic_seconds(p) - between_gpus_seconds(p); };
      us = profile_->head.at(tokens) * computing(piece) / computing(both);
      break;
    }
    case PieceKind::kBackward:
      us = profile_->backward.at(tokens, piece.attended_keys);
      if (piece.rebuild_tokens > 0) us += profile_->rebuild.at(static_cast<double>(piece.rebuild_tokens));
      if (piece.checkpoint_tokens > 0) {
        const auto again = static_cast<double>(piece.checkpoint_tokens);
        us += profile_->forward.at(again, again / tokens * piece.attended_keys);
      }
      break;
    case PieceKind::kOptimizer:
      us = profile_->optimizer * static_cast<double>(piece.parameters) / static_cast<double>(trained_parameters_);
      break;
  }
  return us * 1e-6;
}

std::vector<std::string> TrainingCost::warnings() const {
  if (!profile_ || static_cast<double>(most_tokens_) <= profile_->backward.dense.last_x()) return {};
  return {fmt::format(
      "profile: training pieces of up to {} tokens were priced by extrapolation; the longest measured has {:.0f}",
      most_tokens_, profile_->backward.dense.last_x())};
}

Duration TrainingCost::piece(const TrainingPiece& piece) const {
  if (!latest_ || !cost_the_same(latest_->piece, piece)) {
    latest_ = {piece, std::max(Duration::seconds(seconds(piece)), Duration::nanoseconds(1))};
  }
  return latest_->time;
}

double TrainingCost::seconds(const TrainingPiece& piece) const {
  most_tokens_ = std::max(most_tokens_, piece.tokens);
  const double alone = gather_seconds(piece) +
                       (profile_ ? measured_seconds(piece) + between_gpus_seconds(piece) : analytic_seconds(piece));
  if (piece.kind == PieceKind::kOptimizer) {
    return alone + gradient_sum_seconds(piece.parameters) + keeping_bytes(piece.parameters) / memory_rate(hardware_);
  }
  if (piece.adapter_changes == 0) return alone;
  return alone + piece.adapter_changes * adapters_of(piece).seconds(0, 0);
}

template <class Visit>
void TrainingCost::for_each_part(const TrainingPiece& piece, Visit&& visit) const {
  const auto tokens = static_cast<double>(piece.tokens);
  switch (piece.kind) {
    case PieceKind::kReference:
      return visit(reference_, tokens, piece.attended_keys);
    case PieceKind::kReferenceHead:
      return visit(head_forward_, tokens, 0.0);
    case PieceKind::kForward:
      return visit(forward_, tokens, piece.attended_keys);
    case PieceKind::kHead:
      visit(head_forward_, tokens, 0.0);
      visit(head_backward_, tokens, 0.0);
      if (piece.rebuild_tokens > 0) visit(rebuild_gate_up_, static_cast<double>(piece.rebuild_tokens), 0.0);
      if (piece.recorded_targets > 0) visit(output_from_record_, static_cast<double>(piece.recorded_targets), 0.0);
      return;
    case PieceKind::kBackward:
      visit(backward_, tokens, piece.attended_keys);
      if (piece.rebuild_tokens > 0) visit(rebuild_gate_up_, static_cast<double>(piece.rebuild_tokens), 0.0);
      if (piece.checkpoint_tokens > 0) {
        const auto again = static_cast<double>(piece.checkpoint_tokens);
        visit(forward_, again, again / tokens * piece.attended_keys);
      }
      return;
    case PieceKind::kOptimizer:
      check(false, "the optimizer runs no layer");
  }
}

double TrainingCost::analytic_seconds(const TrainingPiece& piece) const {
  if (piece.kind == PieceKind::kOptimizer) return optimizer_seconds(piece.parameters);
  double seconds = 0;
  for_each_part(
      piece, [&](const KernelTimes& kernels, double tokens, double keys) { seconds += kernels.seconds(tokens, keys); });
  return seconds;
}

double TrainingCost::between_gpus_seconds(const TrainingPiece& piece) const {
  if (tensor_parallel_ == 1 || piece.kind == PieceKind::kOptimizer) return 0;
  double seconds = 0;
  for_each_part(
      piece, [&](const KernelTimes& kernels, double tokens, double) { seconds += kernels.all_reduce_seconds(tokens); });
  return seconds;
}

double TrainingCost::gather_seconds(const TrainingPiece& piece) const {
  const std::int64_t tokens = piece.kind == PieceKind::kBackward ? piece.tokens
                              : piece.kind == PieceKind::kHead   ? piece.recorded_targets
                                                                 : 0;
  double seconds = 0;
  if (tokens == 0) return seconds;
  for (const double bytes : gathered_bytes_) {
    seconds += all_gather_seconds(hardware_, tensor_parallel_, bytes * static_cast<double>(tokens));
  }
  return seconds;
}

double TrainingCost::traffic(const TrainingPiece& piece) const {
  if (piece.kind == PieceKind::kOptimizer) {
    return optimizer_bytes(piece.parameters) + keeping_bytes(piece.parameters);
  }
  double bytes = 0;
  for_each_part(piece,
                [&](const KernelTimes& kernels, double tokens, double) { bytes += kernels.traffic_bytes(tokens); });
  return bytes + piece.adapter_changes * adapters_of(piece).traffic_bytes(0);
}

double TrainingCost::lean_saving(std::int64_t tokens) const {
  const auto n = static_cast<double>(tokens);
  const double keys = attended_keys({static_cast<std::int32_t>(tokens), 0});
  if (!profile_) return 1 - rebuild_gate_up_.seconds(n, 0) / forward_.seconds(n, keys);
  return 1 - profile_->rebuild.at(n) / (profile_->forward.at(n, keys) + 1e6 * forward_.all_reduce_seconds(n));
}

Duration TrainingCost::recording(Bytes bytes) const {
  if (profile_) {
    const double tokens = bytes.as_double() / (record_bytes_.minimal * layers_).as_double();
    return Duration::seconds(profile_->recording.at(tokens) * 1e-6);
  }
  const Duration launches = scaled(hardware_.kernel_overhead, static_cast<double>(layers_));
  const double writing = bytes.as_double() / memory_rate(hardware_);
  return scaled(launches + Duration::seconds(writing), hardware_.recording_slowdown);
}

}  // namespace alchemist
