#include "sim/app/policy_config.h"

#include <fmt/format.h>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/policy/decision_registry.h"

namespace alchemist {
namespace {

std::string read_decision(YamlMap& map, const char* key, const std::vector<DecisionName>& choices) {
  const YamlValue value = map.required(key);
  const std::string text = value.as_string();
  std::string list;
  std::vector<std::string> names;
  for (const DecisionName& choice : choices) {
    if (choice.name == text) return text;
    names.emplace_back(choice.name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  const auto near = nearest_name(text, names);
  value.fail("expected one of " + list + ", got \"" + text + "\"" + (near ? "; did you mean \"" + *near + "\"?" : ""));
}

FreshActivations read_fresh(const YamlValue& value) {
  const std::string text = value.as_string();
  if (text == "keep") return FreshActivations::kKeep;
  if (text == "checkpoint") return FreshActivations::kCheckpoint;
  if (text == "offload") return FreshActivations::kOffload;
  if (text == "spill") return FreshActivations::kSpill;
  value.fail("expected keep, checkpoint, offload or spill, got \"" + text + "\"");
}

SampleOrder read_samples(const YamlValue& value) {
  const std::string text = value.as_string();
  if (text == "oldest") return SampleOrder::kOldest;
  if (text == "recorded") return SampleOrder::kRecorded;
  value.fail("expected oldest or recorded, got \"" + text + "\"");
}

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

void check_combination(const PolicySpec& spec, const YamlValue& value) {
  const bool places = spec.place != "none", evicts = spec.evict != "none";
  if (spec.records() != places || spec.records() != evicts) {
    value.fail("record, place and evict go together: all none, or none of them none");
  }
  if (spec.records_on_host() && spec.restore == "none") {
    value.fail("place: " + spec.place + " copies records to the host, and restore: none never brings them back");
  }
  if (!spec.records() && spec.restore != "none") {
    value.fail("restore: " + spec.restore + " is of records, but record is none");
  }
  if (spec.records() && !spec.trains()) value.fail("records that nobody trains on: train is none");
  if (spec.record_answers && !spec.records()) {
    value.fail("record_answers: true goes with a recorded prompt, but record is none");
  }
  if (spec.spare_memory && !spec.records()) {
    value.fail("spare_memory: true is memory for records, but record is none");
  }
  if (spec.beside() && spec.separate) value.fail("train: beside shares the SMs with serving, but separate is true");
  if (spec.records() && spec.separate) value.fail("a separate training cluster cannot reach serving's records");
}

}  // namespace

PolicySpec load_policy(const std::string& name_or_path) {
  const std::filesystem::path path = resolve_config("policies", name_or_path, {});
  YamlMap map(YamlValue::load(path.string()));
  PolicySpec spec;
  spec.name = path.stem().string();
  spec.description = map.required("description").as_string();
  spec.record = read_decision(map, "record", record_decisions());
  spec.place = read_decision(map, "place", place_decisions());
  spec.evict = read_decision(map, "evict", evict_decisions());
  spec.restore = read_decision(map, "restore", restore_decisions());
  spec.train = read_decision(map, "train", train_decisions());
  if (const auto value = map.optional("separate")) spec.separate = value->as_bool();
  if (const auto value = map.optional("fresh")) spec.fresh = read_fresh(*value);
  if (const auto value = map.optional("samples")) spec.samples = read_samples(*value);
  if (const auto value = map.optional("window_layers")) {
    spec.window_layers = static_cast<std::int32_t>(value->as_int(1, 1 << 16));
  }
  if (const auto value = map.optional("stretch")) spec.stretch = value->as_number(0, 100);
  if (const auto value = map.optional("sm_share")) {
    spec.sm_share = value->as_number(0.01, 0.99);
    if (!spec.beside()) value->fail("is for train: beside, which shares the SMs");
  } else if (spec.beside()) {
    map.value().fail("train: beside needs the key sm_share, training's share of the SMs");
  }
  if (const auto value = map.optional("gpu_record_share")) spec.gpu_record_share = value->as_number(0, 1);
  if (const auto value = map.optional("spare_memory")) spec.spare_memory = value->as_bool();
  if (const auto value = map.optional("host_record_share")) spec.host_record_share = value->as_number(0, 1);
  if (const auto value = map.optional("record_answers")) spec.record_answers = value->as_bool();
  if (const auto value = map.optional("keep_for")) spec.keep_for = value->as_duration();
  if (const auto value = map.optional("micro_batch_tokens")) spec.micro_batch_tokens = value->as_int(1, 1 << 24);
  map.finish();
  check_combination(spec, map.value());
  return spec;
}

Policy make_policy(const PolicySpec& spec) {
  Policy policy;
  policy.keep_for = spec.keep_for;
  policy.fresh = spec.fresh;
  policy.samples = spec.samples;
  policy.stretch = spec.stretch;
  policy.record_answers = spec.record_answers;
  policy.record = make_record_decision(spec.record);
  policy.place = make_place_decision(spec.place);
  policy.evict = make_evict_decision(spec.evict);
  policy.restore = make_restore_decision(spec.restore);
  policy.train = make_train_decision(spec.train);
  return policy;
}

std::string describe_policy(const PolicySpec& spec) {
  const auto row = [](const char* decision, const std::string& name, const std::vector<DecisionName>& names) {
    for (const DecisionName& candidate : names) {
      if (candidate.name == name) return fmt::format("  {:<8} {:<11} {}\n", decision, name, candidate.meaning);
    }
    return std::string();
  };
  std::string text = fmt::format("{}: {}\n\n", spec.name, spec.description);
  text += row("record", spec.record, record_decisions());
  text += row("place", spec.place, place_decisions());
  text += row("evict", spec.evict, evict_decisions());
  text += row("restore", spec.restore, restore_decisions());
  text += row("train", spec.train, train_decisions());
  text += fmt::format("\n  {}\n", spec.separate ? "training has GPUs of its own (cluster.training_gpus)"
                                                : "every GPU serves, and trains if the policy trains");
  if (spec.beside()) text += fmt::format("  training has {:.0f} % of the SMs while it runs\n", 100 * spec.sm_share);
  if (spec.records()) {
    text += fmt::format("  recorded while it is computed: {}\n",
                        spec.record_answers ? "the prompt, and the answer as it is decoded" : "the prompt");
    text += fmt::format(
        "  records: at most {:.0f} % of the KV memory{} and {:.0f} % of host memory{}\n", 100 * spec.gpu_record_share,
        spec.spare_memory ? ", or all of it that serving and its prefix cache do not use," : "",
        100 * spec.host_record_share,
        spec.keep_for == Duration::max() ? std::string()
                                         : ", dropped after " + format_duration(spec.keep_for) + " without feedback");
  }
  if (!spec.trains()) return text;
  text += fmt::format("  activations of training's own forward {}\n", fresh_meaning(spec.fresh));
  if (spec.records_on_host() || spec.fresh == FreshActivations::kOffload || spec.fresh == FreshActivations::kSpill) {
    text += fmt::format(
        "  of what comes from the host or goes there, at most {} layers are on the GPU at once, fewer where "
        "serving would miss the memory\n",
        spec.window_layers);
  }
  return text;
}

}  // namespace alchemist
