#include "sim/app/policy_key.h"

#include <fmt/format.h>

#include "sim/app/distribution_config.h"
#include "sim/app/experiment_names.h"

namespace alchemist {
namespace {

using Spec = const PolicySpec&;

constexpr DecisionKey kDecisionKeys[] = {
    {"record", &PolicySpec::record, record_decisions,
     [](Spec spec, Policy& policy) { policy.record = make_record_decision(spec.record); }},
    {"place", &PolicySpec::place, place_decisions,
     [](Spec spec, Policy& policy) { policy.place = make_place_decision(spec.place); }},
    {"evict", &PolicySpec::evict, evict_decisions,
     [](Spec spec, Policy& policy) { policy.evict = make_evict_decision(spec.evict); }},
    {"restore", &PolicySpec::restore, restore_decisions,
     [](Spec spec, Policy& policy) { policy.restore = make_restore_decision(spec.restore); }},
    {"train", &PolicySpec::train, train_decisions,
     [](Spec spec, Policy& policy) { policy.train = make_train_decision(spec.train); }},
};

const char* fresh_meaning(FreshActivations fresh) {
  switch (fresh) {
    case FreshActivations::kKeep:
      return "stay on the GPU until backward";
    case FreshActivations::kCheckpoint:
      return "are computed anew in backward, from each layer's input";
    case FreshActivations::kOffload:
      return "go to the host and come back";
    case FreshActivations::kSpill:
      return "go to the host and come back, where serving would miss the memory for them and the link keeps up";
  }
  return "";
}

const char* order_meaning(SampleOrder order) {
  switch (order) {
    case SampleOrder::kOldest:
      return "the oldest";
    case SampleOrder::kRecorded:
      return "those whose records save the most forward";
  }
  return "";
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

constexpr PolicyKey kPolicyKeys[] = {
    {"separate", [](YamlValue value, PolicySpec& spec) { spec.separate = value.as_bool(); },
     [](Spec spec) { return YAML::Node(spec.separate); },
     [](Spec spec) {
       return std::string(spec.separate ? "training has GPUs of its own (cluster.training_gpus)"
                                        : "every GPU serves, and trains if the policy trains");
     }},
    {"fresh", [](YamlValue value, PolicySpec& spec) { spec.fresh = read_word(value, fresh_activations()); },
     [](Spec spec) { return YAML::Node(word_of(spec.fresh, fresh_activations())); },
     [](Spec spec) {
       if (!spec.trains()) return std::string();
       return fmt::format("activations of training's own forward {}", fresh_meaning(spec.fresh));
     }},
    {"samples", [](YamlValue value, PolicySpec& spec) { spec.samples = read_word(value, sample_orders()); },
     [](Spec spec) { return YAML::Node(word_of(spec.samples, sample_orders())); },
     [](Spec spec) {
       if (!spec.trains()) return std::string();
       return fmt::format("of the samples whose feedback came, {} are trained first", order_meaning(spec.samples));
     }},
    {"sm_share",
     [](YamlValue value, PolicySpec& spec) {
       spec.sm_share = value.as_number(0.01, 0.99);
       if (!spec.beside()) value.fail("is for train: beside, which shares the SMs");
     },
     [](Spec spec) { return spec.beside() ? YAML::Node(format_number(spec.sm_share)) : YAML::Node(); },
     [](Spec spec) {
       if (!spec.beside()) return std::string();
       return fmt::format("training has {} of the SMs while it runs", percent(spec.sm_share));
     }},
    {"stretch", [](YamlValue value, PolicySpec& spec) { spec.stretch = value.as_number(0, 100); },
     [](Spec spec) { return YAML::Node(format_number(spec.stretch)); },
     [](Spec spec) {
       if (!spec.trains()) return std::string();
       return fmt::format(
           "hidden training lengthens decoding, and what is left of prompts to compute, by at most {:.3g} %",
           100 * spec.stretch);
     }},
    {"gpu_record_share", [](YamlValue value, PolicySpec& spec) { spec.gpu_record_share = value.as_number(0, 1); },
     [](Spec spec) { return YAML::Node(format_number(spec.gpu_record_share)); },
     [](Spec spec) {
       if (!spec.records()) return std::string();
       return fmt::format("records: at most {} of the KV memory", percent(spec.gpu_record_share));
     }},
    {"spare_memory", [](YamlValue value, PolicySpec& spec) { spec.spare_memory = value.as_bool(); },
     [](Spec spec) { return YAML::Node(spec.spare_memory); },
     [](Spec spec) {
       return std::string(spec.spare_memory ? "  or all of it that serving and its prefix cache do not use" : "");
     }},
    {"host_record_share", [](YamlValue value, PolicySpec& spec) { spec.host_record_share = value.as_number(0, 1); },
     [](Spec spec) { return YAML::Node(format_number(spec.host_record_share)); },
     [](Spec spec) {
       if (!spec.uses_host()) return std::string();
       return fmt::format("on the host: at most {} of its memory", percent(spec.host_record_share));
     }},
    {"record_answers", [](YamlValue value, PolicySpec& spec) { spec.record_answers = value.as_bool(); },
     [](Spec spec) { return YAML::Node(spec.record_answers); },
     [](Spec spec) {
       if (!spec.records()) return std::string();
       return fmt::format("recorded while it is computed: {}",
                          spec.record_answers ? "the prompt, and the answer as it is decoded" : "the prompt");
     }},
    {"keep_for", [](YamlValue value, PolicySpec& spec) { spec.keep_for = value.as_duration(); },
     [](Spec spec) {
       return spec.keep_for == Duration::max() ? YAML::Node() : YAML::Node(format_duration(spec.keep_for));
     },
     [](Spec spec) {
       if (!spec.records() || spec.keep_for == Duration::max()) return std::string();
       return fmt::format("records are dropped after {} without feedback", format_duration(spec.keep_for));
     }},
    {"micro_batch_tokens",
     [](YamlValue value, PolicySpec& spec) {
       spec.micro_batch_tokens.reset();
       if (!value.is("auto")) spec.micro_batch_tokens = value.as_int(1, 1 << 24);
     },
     [](Spec spec) { return spec.micro_batch_tokens ? YAML::Node(*spec.micro_batch_tokens) : YAML::Node("auto"); },
     [](Spec spec) {
       if (!spec.trains()) return std::string();
       if (!spec.micro_batch_tokens) return std::string("micro-batches so large that computing hides reading weights");
       return fmt::format("micro-batches of at most {} tokens, a longer sample alone", *spec.micro_batch_tokens);
     }},
    {"window_layers",
     [](YamlValue value, PolicySpec& spec) {
       spec.window_layers = static_cast<std::int32_t>(value.as_int(1, 1 << 16));
     },
     [](Spec spec) { return YAML::Node(spec.window_layers); },
     [](Spec spec) {
       if (!spec.uses_host()) return std::string();
       return fmt::format(
           "of what comes from the host or goes there, at most {} layers are on the GPU at once, fewer "
           "where serving would miss the memory",
           spec.window_layers);
     }},
};

}  // namespace

std::span<const DecisionKey> decision_keys() { return kDecisionKeys; }

std::span<const PolicyKey> other_policy_keys() { return kPolicyKeys; }

}  // namespace alchemist
