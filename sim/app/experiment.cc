#include "sim/app/experiment.h"

#include <algorithm>
#include <limits>
#include <set>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/experiment_names.h"
#include "sim/app/experiment_validation.h"
#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "sim/app/workload_config.h"
#include "sim/base/error.h"

namespace alchemist {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

void read_int(YamlMap& map, const char* key, std::int32_t& field, std::int64_t min, std::int64_t max) {
  if (auto found = map.optional(key)) field = static_cast<std::int32_t>(found->as_int(min, max));
}

void read_bool(YamlMap& map, const char* key, bool& field) {
  if (auto found = map.optional(key)) field = found->as_bool();
}

// A limit of a count that enters products with the model's dimensions; keeps these within 64 bits.
constexpr std::int64_t kMaxCount = 1 << 20;

ServingConfig read_serving(const YamlValue& value, ServingConfig serving) {
  YamlMap map(value);
  read_int(map, "max_num_seqs", serving.max_num_seqs, 1, kMaxCount);
  read_int(map, "max_num_batched_tokens", serving.max_num_batched_tokens, 1, 64 * kMaxCount);
  read_int(map, "block_size", serving.block_size, 1, kMaxCount);
  if (auto found = map.optional("kv_cache_tokens"); found && !found->is("auto"))
    serving.kv_cache_tokens = found->as_int(1, kMaxInt32);
  if (auto found = map.optional("gpu_memory_utilization")) {
    serving.gpu_memory_utilization = found->as_number(0, 1);
    if (serving.gpu_memory_utilization == 0) found->fail("expected more than 0 and at most 1");
  }
  read_bool(map, "prefix_caching", serving.prefix_caching);
  read_bool(map, "reset_prefix_cache", serving.reset_prefix_cache);
  read_bool(map, "chunked_prefill", serving.chunked_prefill);
  read_bool(map, "reserve_full_prompt", serving.reserve_full_prompt);
  read_int(map, "tensor_parallel", serving.tensor_parallel, 1, kMostGpusOfAReplica);
  read_bool(map, "async_scheduling", serving.async_scheduling);
  read_bool(map, "cuda_graphs", serving.cuda_graphs);
  if (auto found = map.optional("enable_lora"); found && !found->is("auto")) serving.enable_lora = found->as_bool();
  if (auto found = map.optional("max_model_len"); found && !found->is("auto"))
    serving.max_model_len = static_cast<std::int32_t>(found->as_int(1, kMaxInt32));
  map.finish();
  return serving;
}

std::set<LinearModule> read_modules(const YamlValue& value) {
  std::set<LinearModule> modules;
  for (const YamlValue& name : value.as_list()) {
    if (!modules.insert(read_word(name, linear_modules())).second) name.fail("is there twice");
  }
  if (modules.empty()) value.fail("expected at least one of q, k, v, o, gate, up, down");
  return modules;
}

TrainingConfig read_training(const YamlValue& value) {
  TrainingConfig training;
  YamlMap map(value);
  if (auto found = map.optional("method")) training.method = read_word(*found, training_methods());
  read_int(map, "lora_rank", training.lora_rank, 1, 1 << 16);
  if (auto found = map.optional("lora_modules")) training.lora_modules = read_modules(*found);
  if (auto found = map.optional("objective")) training.objective = read_word(*found, training_objectives());
  read_bool(map, "reference_model", training.reference_model);
  read_int(map, "group_size", training.group_size, 2, 1 << 10);
  if (auto found = map.optional("batch_tokens")) training.batch_tokens = found->as_int(1, 1'000'000'000);
  if (auto found = map.optional("feedback")) {
    YamlMap feedback(*found);
    if (auto share = feedback.optional("share")) training.feedback.share = share->as_number(0, 1);
    if (auto delay = feedback.optional("delay")) training.feedback.delay = read_duration_distribution(*delay);
    feedback.finish();
  }
  read_int(map, "max_version_lag", training.max_version_lag, 0, kMaxInt32);
  if (auto found = map.optional("backward")) {
    training.backward = read_word(*found, backward_weights());
    if (training.backward == BackwardWeights::kRecorded && training.method == TrainingMethod::full)
      found->fail("recorded keeps the adapters that records were made under, expected method lora");
  }
  read_bool(map, "sequence_parallel", training.sequence_parallel);
  if (auto found = map.optional("max_itl"); found && !found->is("hidden")) training.max_itl = found->as_duration();
  map.finish();
  return training;
}

ClusterConfig read_cluster(const YamlValue& value) {
  ClusterConfig cluster;
  YamlMap map(value);
  read_int(map, "gpus", cluster.gpus, 1, 100'000);
  read_int(map, "training_gpus", cluster.training_gpus, 0, 100'000);
  if (auto found = map.optional("routing")) cluster.routing = read_word(*found, routings());
  map.finish();
  return cluster;
}

// A given section stands for itself: what it does not name is no objective.
SloConfig read_slo(const YamlValue& value) {
  SloConfig slo;
  YamlMap map(value);
  const auto read = [&map](const char* key, std::optional<Duration>& field) {
    if (auto found = map.optional(key)) {
      field = found->as_duration();
      if (*field == Duration()) found->fail("expected more than 0");
    }
  };
  read("ttft", slo.ttft);
  read("itl", slo.itl);
  read("tpot", slo.tpot);
  read("e2e", slo.e2e);
  map.finish();
  return slo;
}

fs::path read_profile(const YamlValue& value) {
  const fs::path path = resolve_path(value);
  std::error_code error;
  if (!fs::exists(path, error)) value.fail("no such file or folder: " + path.string());
  return fs::absolute(path).lexically_normal();
}

// Single quotes make any text one YAML scalar.
std::string quote_yaml(const std::string& text) {
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

// Two options for the same value: neither is what the user wants for certain.
void check_given_once(const std::vector<YamlOverride>& options, const YamlOverride& set) {
  const std::set<std::string> whole_workload = {"workload", "workload.base", "workload.trace", "workload.trace.file"};
  for (const YamlOverride& option : options) {
    const bool same = option.key_path == set.key_path ||
                      (option.key_path == "workload" && whole_workload.contains(set.key_path)) ||
                      (option.key_path == "policy" && set.key_path == "policy.base");
    if (same) throw ConfigError(option.label + " and " + set.label + ": expected one of the two");
  }
}

YamlValue with_values(const YamlValue& document, const std::vector<YamlOverride>& values) {
  return document.with_overrides(values, {"model", "hardware", "workload", "policy"});
}

// Hardware that is written out in full, as resolved experiments have it, stands for itself; a name, or a base with
// changes, takes from a profile what was measured.
bool leaves_something_open(const YamlValue& hardware) { return hardware.is_scalar() || hardware.node()["base"]; }

}  // namespace

YamlOverride parse_assignment(const std::string& option, const std::string& text, const std::string& value) {
  const std::size_t equals = text.find('=');
  const std::string label = option + " " + text;
  if (equals == 0 || equals == std::string::npos) throw ConfigError(label + ": expected KEY.PATH=" + value);
  return {text.substr(0, equals), text.substr(equals + 1), label, ""};
}

std::vector<YamlOverride> yaml_overrides(const ExperimentOverrides& overrides) {
  std::vector<YamlOverride> result;
  if (overrides.trace)
    result.push_back({"workload", quote_yaml(fs::absolute(*overrides.trace).lexically_normal().string()),
                      "--trace " + *overrides.trace});
  if (overrides.policy) {
    const bool mapping = overrides.policy->starts_with("{");
    result.push_back(
        {"policy", mapping ? *overrides.policy : quote_yaml(*overrides.policy), "--policy " + *overrides.policy});
  }
  if (overrides.seed)
    result.push_back({"seed", std::to_string(*overrides.seed), "--seed " + std::to_string(*overrides.seed)});
  const std::vector<YamlOverride> options = result;
  for (const std::string& set : overrides.sets) {
    result.push_back(parse_assignment("--set", set, "VALUE"));
    check_given_once(options, result.back());
  }
  return result;
}

Experiment read_keys(const YamlValue& value) {
  Experiment e;
  YamlMap map(value);
  e.model = read_model(map.required("model"));
  const YamlValue hardware = map.required("hardware");
  e.hardware = read_hardware(hardware);
  if (auto found = map.optional("profile")) {
    e.profile = read_profile(*found);
    const fs::path host = *e.profile / "host.yaml";
    if (leaves_something_open(hardware) && fs::exists(host)) e.hardware = with_measured_host(e.hardware, host.string());
  }
  e.workload = read_workload(map.required("workload"));
  if (auto found = map.optional("training")) {
    e.training = read_training(*found);
    e.serving.enable_lora = e.training.method == TrainingMethod::lora;
  }
  if (auto found = map.optional("serving")) e.serving = read_serving(*found, e.serving);
  e.serving.enable_lora = e.serving.enable_lora && e.training.method == TrainingMethod::lora;
  if (auto found = map.optional("cluster")) e.cluster = read_cluster(*found);
  if (auto found = map.optional("policy")) e.policy = read_policy(*found);
  if (auto found = map.optional("slo")) e.slo = read_slo(*found);
  if (auto found = map.optional("seed")) e.seed = found->as_int(0, std::numeric_limits<std::int64_t>::max());
  map.finish();
  return e;
}

Experiment read_experiment(const YamlValue& value) {
  Experiment e = read_keys(value);
  validate_experiment(e, value);
  return e;
}

Experiment load_experiment(const std::string& name_or_path, const ExperimentOverrides& overrides) {
  const fs::path file = resolve_config("experiments", name_or_path, {});
  return read_experiment(with_values(YamlValue::load(file.string()), yaml_overrides(overrides)));
}

Experiment read_experiment(const std::string& text, const std::string& origin,
                           const std::vector<YamlOverride>& values) {
  return read_experiment(experiment_document(text, origin, values));
}

YamlValue experiment_document(const std::string& text, const std::string& origin,
                              const std::vector<YamlOverride>& values) {
  return with_values(YamlValue::parse(text, origin), values);
}

MemoryPlan memory_plan(const Experiment& e) {
  return plan_memory(e.model, e.hardware,
                     {.gpu_memory_utilization = e.serving.gpu_memory_utilization,
                      .tensor_parallel = e.serving.tensor_parallel,
                      .max_num_batched_tokens = e.serving.max_num_batched_tokens,
                      .max_num_seqs = e.serving.max_num_seqs,
                      .block_size = e.serving.block_size,
                      .kv_cache_tokens = e.serving.kv_cache_tokens});
}

std::int64_t max_model_len(const Experiment& e) {
  if (e.serving.max_model_len) return *e.serving.max_model_len;
  return std::min(e.model.max_position, memory_plan(e).kv_tokens);
}

}  // namespace alchemist
