#include "sim/app/distribution_config.h"
#include "sim/app/experiment.h"
#include "sim/app/experiment_names.h"
#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "sim/app/workload_config.h"

namespace alchemist {

namespace {

template <class T>
void emit(YAML::Emitter& out, const char* key, const T& value) {
  out << YAML::Key << key << YAML::Value << value;
}

template <class T>
void emit_or_auto(YAML::Emitter& out, const char* key, const std::optional<T>& value) {
  emit(out, key, value ? std::to_string(*value) : std::string("auto"));
}

void emit_serving(YAML::Emitter& out, const ServingConfig& serving) {
  out << YAML::Key << "serving" << YAML::Value << YAML::BeginMap;
  emit(out, "max_num_seqs", serving.max_num_seqs);
  emit(out, "max_num_batched_tokens", serving.max_num_batched_tokens);
  emit(out, "block_size", serving.block_size);
  emit_or_auto(out, "kv_cache_tokens", serving.kv_cache_tokens);
  emit(out, "gpu_memory_utilization", format_number(serving.gpu_memory_utilization));
  emit(out, "prefix_caching", serving.prefix_caching);
  emit(out, "reset_prefix_cache", serving.reset_prefix_cache);
  emit(out, "chunked_prefill", serving.chunked_prefill);
  emit(out, "reserve_full_prompt", serving.reserve_full_prompt);
  emit(out, "tensor_parallel", serving.tensor_parallel);
  emit(out, "async_scheduling", serving.async_scheduling);
  emit(out, "cuda_graphs", serving.cuda_graphs);
  emit(out, "enable_lora", serving.enable_lora);
  emit_or_auto(out, "max_model_len", serving.max_model_len);
  out << YAML::EndMap;
}

void emit_training(YAML::Emitter& out, const TrainingConfig& training) {
  out << YAML::Key << "training" << YAML::Value << YAML::BeginMap;
  emit(out, "method", word_of(training.method, training_methods()));
  emit(out, "lora_rank", training.lora_rank);
  out << YAML::Key << "lora_modules" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const LinearModule module : training.lora_modules) out << word_of(module, linear_modules());
  out << YAML::EndSeq;
  emit(out, "objective", word_of(training.objective, training_objectives()));
  emit(out, "reference_model", training.reference_model);
  emit(out, "group_size", training.group_size);
  emit(out, "batch_tokens", training.batch_tokens);
  out << YAML::Key << "feedback" << YAML::Value << YAML::BeginMap;
  emit(out, "share", format_number(training.feedback.share));
  out << YAML::Key << "delay" << YAML::Value;
  emit_duration_distribution(out, training.feedback.delay);
  out << YAML::EndMap;
  emit(out, "max_version_lag", training.max_version_lag);
  emit(out, "backward", word_of(training.backward, backward_weights()));
  emit(out, "sequence_parallel", training.sequence_parallel);
  emit(out, "max_itl", training.max_itl ? format_duration(*training.max_itl) : std::string("hidden"));
  out << YAML::EndMap;
}

void emit_cluster(YAML::Emitter& out, const ClusterConfig& cluster) {
  out << YAML::Key << "cluster" << YAML::Value << YAML::BeginMap;
  emit(out, "gpus", cluster.gpus);
  emit(out, "training_gpus", cluster.training_gpus);
  emit(out, "routing", word_of(cluster.routing, routings()));
  out << YAML::EndMap;
}

void emit_slo(YAML::Emitter& out, const SloConfig& slo) {
  out << YAML::Key << "slo" << YAML::Value << YAML::BeginMap;
  if (slo.ttft) emit(out, "ttft", format_duration(*slo.ttft));
  if (slo.itl) emit(out, "itl", format_duration(*slo.itl));
  if (slo.tpot) emit(out, "tpot", format_duration(*slo.tpot));
  if (slo.e2e) emit(out, "e2e", format_duration(*slo.e2e));
  out << YAML::EndMap;
}

}  // namespace

std::string emit_experiment(const Experiment& e) {
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "model" << YAML::Value;
  emit_model(out, e.model);
  out << YAML::Key << "hardware" << YAML::Value;
  emit_hardware(out, e.hardware);
  if (e.profile) emit(out, "profile", e.profile->string());
  out << YAML::Key << "workload" << YAML::Value;
  emit_workload(out, e.workload);
  emit_serving(out, e.serving);
  emit_training(out, e.training);
  emit_cluster(out, e.cluster);
  out << YAML::Key << "policy" << YAML::Value;
  emit_policy(out, e.policy);
  emit_slo(out, e.slo);
  emit(out, "seed", e.seed);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace alchemist
