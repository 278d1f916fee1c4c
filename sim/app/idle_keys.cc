#include "sim/app/idle_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>
#include <variant>

#include "sim/app/policy_config.h"

namespace alchemist {
namespace {

// Those of `keys` whose second part holds, "a, b", or nothing.
std::string names(std::initializer_list<std::pair<const char*, bool>> keys) {
  std::vector<const char*> found;
  for (const auto& [key, is_set] : keys) {
    if (is_set) found.push_back(key);
  }
  return fmt::format("{}", fmt::join(found, ", "));
}

void warn_of_policy(const PolicySpec& policy, std::vector<std::string>& warnings) {
  const PolicySpec usual;
  const auto add = [&](const std::string& keys, const char* reason) {
    if (!keys.empty())
      warnings.push_back(fmt::format("policy {}: no use is made of {}: {}", policy.name, keys, reason));
  };
  if (!policy.trains()) {
    add(names({{"fresh", policy.fresh != usual.fresh},
               {"samples", policy.samples != usual.samples},
               {"stretch", policy.stretch != usual.stretch},
               {"micro_batch_tokens", policy.micro_batch_tokens.has_value()}}),
        "train is none");
  }
  if (!policy.records()) {
    add(names({{"gpu_record_share", policy.gpu_record_share != usual.gpu_record_share},
               {"keep_for", policy.keep_for != usual.keep_for}}),
        "record is none");
  }
  if (!policy.uses_host()) {
    add(names({{"host_record_share", policy.host_record_share != usual.host_record_share},
               {"window_layers", policy.window_layers != usual.window_layers}}),
        "neither place nor fresh sends anything to the host");
  }
}

void warn_of_training(const TrainingConfig& training, std::int32_t tensor_parallel,
                      std::vector<std::string>& warnings) {
  const TrainingConfig usual;
  const std::string keys = names({{"lora_rank", training.lora_rank != usual.lora_rank},
                                  {"lora_modules", training.lora_modules != usual.lora_modules}});
  if (training.method == TrainingMethod::full && !keys.empty())
    warnings.push_back(fmt::format("training: no use is made of {}: method is full", keys));
  if (training.sequence_parallel && tensor_parallel == 1)
    warnings.emplace_back("training: no use is made of sequence_parallel: serving.tensor_parallel is 1");
}

// A closed loop knows when answers really end, and has nobody who was there before it began.
void warn_of_sessions(const WorkloadSpec& workload, std::vector<std::string>& warnings) {
  const auto* generated = std::get_if<GeneratedWorkload>(&workload.source);
  if (generated == nullptr || !generated->sessions || !std::holds_alternative<ClosedLoopArrivals>(generated->arrivals))
    return;
  const SessionSpec &sessions = *generated->sessions, usual;
  const std::string keys =
      names({{"answer_delay", sessions.answer_delay != usual.answer_delay},
             {"answer_time_per_token", sessions.answer_time_per_token != usual.answer_time_per_token},
             {"warm_up", sessions.warm_up != usual.warm_up}});
  if (!keys.empty()) {
    warnings.push_back(
        fmt::format("workload.sessions: no use is made of {}: in a closed loop answers end when the run "
                    "has computed them, and all users begin with the run",
                    keys));
  }
}

}  // namespace

std::vector<std::string> idle_key_warnings(const Experiment& experiment) {
  std::vector<std::string> warnings;
  warn_of_policy(load_policy(experiment.policy), warnings);
  warn_of_training(experiment.training, experiment.serving.tensor_parallel, warnings);
  warn_of_sessions(experiment.workload, warnings);
  return warnings;
}

}  // namespace alchemist
