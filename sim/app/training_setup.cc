#include "sim/app/training_setup.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/app/calibrated_profile.h"
#include "sim/app/conflict_error.h"
#include "sim/app/gib.h"
#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/model/largest_batch.h"
#include "sim/model/micro_batch.h"
#include "sim/model/roofline_cost.h"

namespace alchemist {
namespace {

constexpr std::int64_t kLogitTokens = 1024;  // tokens whose logits exist at once: the loss runs in chunks of these
constexpr std::int64_t kLogitBytes = 4 + 2;  // f32 logits and their gradient at the model's precision

Bytes host_pool(const Experiment& experiment, const PolicySpec& policy) {
  if (!policy.records_on_host() && !policy.fresh_on_host()) return Bytes();
  return Bytes(static_cast<std::int64_t>(experiment.hardware.host_memory.as_double() * policy.host_record_share));
}

// Of a profile folder that has one; others price training by the roofline.
std::optional<TrainingProfile> training_profile(const Experiment& experiment) {
  if (!experiment.profile) return std::nullopt;
  const std::filesystem::path file = *experiment.profile / "training.csv";
  if (!std::filesystem::exists(file)) return std::nullopt;
  check_measured_split(experiment);
  return read_training_profile(file.string());
}

}  // namespace

TrainingShape training_shape_of(const TrainingConfig& training) {
  TrainingShape shape;
  shape.method = training.method;
  shape.lora_rank = training.lora_rank;
  shape.lora_modules = training.lora_modules;
  shape.objective = training.objective;
  shape.reference_model = training.reference_model;
  shape.group_size = training.group_size;
  shape.sequence_parallel = training.sequence_parallel;
  return shape;
}

std::optional<TrainingShape> served_adapters(const Experiment& experiment) {
  if (!experiment.serving.enable_lora) return std::nullopt;
  return training_shape_of(experiment.training);
}

Duration CostEstimator::copy(LinkDirection direction, Bytes bytes) const {
  return hardware_.link_latency + Duration::seconds(bytes.as_double() / copy_bandwidth(hardware_, direction));
}

TrainingWorld::TrainingWorld(const Experiment& experiment, const PolicySpec& policy, Bytes page_bytes)
    : experiment_(experiment), policy_(policy), page_bytes_(page_bytes) {
  const std::int32_t tensor_parallel = experiment.serving.tensor_parallel;
  const std::int32_t gpus = policy.separate ? experiment.cluster.training_gpus : experiment.cluster.gpus;
  check(gpus % tensor_parallel == 0, "the cluster was validated");
  replicas_ = gpus / tensor_parallel;
  micro_batch_tokens_ = policy.micro_batch_tokens.value_or(usual_micro_batch_tokens(
      experiment.hardware, experiment.model, training_shape_of(experiment.training), tensor_parallel));
  cost_ = std::make_unique<TrainingCost>(experiment.hardware, experiment.model, training_shape_of(experiment.training),
                                         replicas_, tensor_parallel, training_profile(experiment));
  if (policy.separate) cost_->send_weights();
  if (policy.beside()) {
    if (experiment.profile) {
      throw ConflictError("profile", fmt::format("policy {} trains beside serving, which nobody has measured; expected "
                                                 "an experiment without profile",
                                                 policy.name));
    }
    const ServingConfig& serving = experiment.serving;
    beside_cost_ = std::make_unique<TrainingCost>(share_of(experiment.hardware, policy.sm_share), experiment.model,
                                                  training_shape_of(experiment.training), replicas_, tensor_parallel);
    beside_serving_ = std::make_unique<RooflineCost>(share_of(experiment.hardware, 1 - policy.sm_share),
                                                     experiment.model, tensor_parallel, serving.max_num_batched_tokens,
                                                     serving.async_scheduling, served_adapters(experiment));
  }
  if (kept_versions() > 0) {
    for (TrainingCost* cost : {cost_.get(), beside_cost_.get()}) {
      if (cost) cost->keep_weights();
    }
  }
  estimator_ = std::make_unique<CostEstimator>(beside_cost_ ? *beside_cost_ : *cost_, experiment.hardware);
  static_bytes_ = cost_->state_bytes() + cost_->working_bytes_per_token() * reserved_tokens() +
                  Bytes(kLogitTokens * gpu_shard(experiment.model, tensor_parallel).vocabulary * kLogitBytes);
  static_bytes_ += kept_bytes();
  const MemoryPlan plan = memory_plan(experiment);
  // LoRA's frozen model is the one that is served, without the adapters.
  const TrainingConfig& training = experiment.training;
  if (training.uses_reference() && training.method == TrainingMethod::full) static_bytes_ += plan.weights;
  const Bytes room = plan.usable - plan.weights - plan.reserve - static_bytes_;
  const std::int64_t pages = room.count() / page_bytes.count();
  if (pages < 1) {
    throw ConflictError(
        "training",
        fmt::format("does not fit: of {} usable on {}, weights take {} and gradients, optimizer "
                    "state and workspace {}; use {}{}a higher serving.tensor_parallel, a smaller model or a larger GPU",
                    gib(plan.usable), experiment.hardware.name, gib(plan.weights), gib(static_bytes_),
                    training.method == TrainingMethod::full ? "training.method lora, " : "",
                    kept_versions() > 0 ? fmt::format("less than training.max_version_lag {} (each version takes {}), ",
                                                      kept_versions(), gib(cost_->weight_bytes()))
                                        : ""));
  }
  separate_pages_ = static_cast<std::int32_t>(pages);
}

// Of the adapters: as old as a record may be.
std::int32_t TrainingWorld::kept_versions() const {
  const TrainingConfig& training = experiment_.training;
  const bool keeps = training.backward == BackwardWeights::kRecorded && policy_.records();
  return keeps ? training.max_version_lag : 0;
}

Bytes TrainingWorld::kept_bytes() const {
  constexpr double kMoreThanAnyMemory = 1e18;
  const double bytes = cost_->weight_bytes().as_double() * kept_versions();
  return Bytes(static_cast<std::int64_t>(std::min(bytes, kMoreThanAnyMemory)));
}

// Of a micro-batch whose working set is set aside.
std::int64_t TrainingWorld::reserved_tokens() const {
  return std::min(micro_batch_tokens_, experiment_.training.batch_tokens);
}

TrainingSetup TrainingWorld::setup(std::int32_t kv_blocks) const {
  const std::int64_t layers = experiment_.model.layers;
  const RecordBytes& bytes = cost_->record_bytes();
  TrainingSetup setup;
  setup.make_policy = [spec = policy_] { return make_policy(spec); };
  setup.feedback = experiment_.training.feedback;
  setup.cost = cost_.get();
  setup.estimator = estimator_.get();
  setup.link = LinkSpec::from(experiment_.hardware);
  setup.step_host_time = ahead_of_step(experiment_.hardware.step_overhead, experiment_.serving.async_scheduling);
  if (beside_cost_) {
    const HardwareSpec& hardware = experiment_.hardware;
    setup.beside = {beside_serving_.get(), beside_cost_.get(), hardware.memory_bandwidth * hardware.memory_efficiency};
    setup.trainer.gpu_share = policy_.sm_share;
  }
  setup.static_bytes = static_bytes_;
  setup.clairvoyant = policy_.clairvoyant();
  setup.store.page_bytes = page_bytes_;
  setup.store.max_pages = static_cast<std::int32_t>(kv_blocks * policy_.gpu_record_share);
  setup.store.spare_memory = policy_.spare_memory;
  setup.store.host_capacity = host_pool(experiment_, policy_);
  setup.store.lean_per_token = bytes.lean * layers;
  setup.store.minimal_per_token = bytes.minimal * layers;
  constexpr std::int32_t kUsualPrompt = 1024;  // tokens
  setup.store.lean_saving = cost_->lean_saving(kUsualPrompt);
  TrainingPiece forward;
  forward.tokens = kUsualPrompt;
  forward.attended_keys = attended_keys({kUsualPrompt, 0});
  setup.store.forward_per_token_s = static_cast<double>(layers) * cost_->piece(forward).in_seconds() / kUsualPrompt;
  setup.store.record_step_s = cost_->recording(bytes.minimal * layers).in_seconds();
  setup.store.link_bandwidth = copy_bandwidth(experiment_.hardware, LinkDirection::kDeviceToHost);
  setup.store.copy_costs = 1 - 1 / experiment_.hardware.copy_slowdown;
  setup.trainer.training = experiment_.training;
  setup.trainer.replicas = replicas_;
  setup.trainer.layers = static_cast<std::int32_t>(layers);
  setup.trainer.micro_batch_tokens = micro_batch_tokens_;
  setup.trainer.token_tile = experiment_.hardware.token_tile;
  setup.trainer.trained_parameters = cost_->trained_parameters();
  setup.trainer.kept_versions = kept_versions();
  setup.trainer.page_bytes = page_bytes_;
  setup.trainer.working_per_token = cost_->working_bytes_per_token();
  setup.trainer.reserved_tokens = reserved_tokens();
  setup.trainer.window_layers = policy_.window_layers;
  setup.trainer.bytes = {bytes.lean * layers, bytes.minimal * layers, bytes.input * layers,
                         bytes.keys_and_values * layers};
  if (policy_.separate) {
    setup.separate_replicas = replicas_;
    setup.separate_pages = separate_pages_;
  }
  return setup;
}

std::int64_t TrainingWorld::largest_batch(std::int32_t kv_blocks, const SimulationTotals& totals) const {
  const std::int64_t layers = experiment_.model.layers;
  const RecordBytes& bytes = cost_->record_bytes();
  BatchRoom room;
  room.gpu = policy_.separate ? page_bytes_ * separate_pages_ : page_bytes_ * kv_blocks - totals.peak_kv;
  room.per_token = bytes.minimal * layers;
  room.window_share = std::min(1.0, static_cast<double>(policy_.window_layers) / static_cast<double>(layers));
  // Tokens without a record, of which each layer's input is kept, take about as little of the GPU as those with one.
  if (policy_.fresh == FreshActivations::kCheckpoint) {
    room.per_token = bytes.input * layers + bytes.minimal;
    return replicas_ * largest_batch_tokens(room);
  }
  const bool leaves = policy_.fresh_on_host();
  if (leaves) {
    room.host = host_pool(experiment_, policy_);
    room.fresh_share = 0;
    room.record_share = 1;
  }
  if (policy_.records() && totals.feedback_tokens > 0) {
    if (!leaves) {
      const auto all = static_cast<double>(totals.feedback_tokens);
      room.fresh_share = static_cast<double>(totals.feedback_answer_tokens) / all;
      room.record_share = static_cast<double>(totals.feedback_prompt_tokens) / all;
    }
    room.resident = page_bytes_ * static_cast<std::int64_t>(kv_blocks * policy_.gpu_record_share);
    if (policy_.records_on_host()) room.host = host_pool(experiment_, policy_);
  }
  std::int64_t tokens = largest_batch_tokens(room);
  // What finds no room as a record may be computed again, and stay.
  if (policy_.fresh == FreshActivations::kKeep || policy_.fresh == FreshActivations::kSpill) {
    room.fresh_share = 1;
    room.record_share = 0;
    room.host = room.resident = Bytes();
    tokens = std::max(tokens, largest_batch_tokens(room));
  }
  return replicas_ * tokens;
}

double TrainingWorld::bound_tokens_per_s(const SimulationTotals& totals) const {
  const double duration = totals.end.in_seconds();
  if (duration <= 0) return 0;
  const TrainingShape shape = training_shape_of(experiment_.training);
  const std::int32_t tensor_parallel = experiment_.serving.tensor_parallel;
  const LayerCosts layer = layer_costs(build_layer_graph(experiment_.model, shape, tensor_parallel));
  // Without the output head: it runs over the answers alone, which may be short.
  const double flops = static_cast<double>(experiment_.model.layers) * layer.backward.work().matrix_flops_per_token;
  const std::int32_t replicas = experiment_.cluster.gpus / tensor_parallel;
  const double by_compute = replicas * experiment_.hardware.matrix_flops / flops;
  return std::min(by_compute, static_cast<double>(totals.feedback_tokens) / duration);
}

}  // namespace alchemist
