// One experiment: everything a run depends on. Read from YAML with overrides from the command line, written back with
// all defaults filled in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/policy_config.h"
#include "sim/app/yaml_reader.h"
#include "sim/base/time.h"
#include "sim/model/hardware.h"
#include "sim/model/memory_plan.h"
#include "sim/model/model_shape.h"
#include "sim/node/router.h"
#include "sim/node/serving_config.h"
#include "sim/node/training_config.h"
#include "workloads/spec.h"

namespace alchemist {

struct ClusterConfig {
  std::int32_t gpus = 1;           // everything there is
  std::int32_t training_gpus = 0;  // of them, set apart for training by the `separate` policies
  Routing routing = Routing::kLeastLoaded;

  bool operator==(const ClusterConfig&) const = default;
};

// Latency objectives; a request counts towards goodput if it meets every one that is given.
struct SloConfig {
  std::optional<Duration> ttft;  // to the first token, queueing included
  std::optional<Duration> itl;   // each gap between two output tokens
  std::optional<Duration> tpot;  // mean gap
  std::optional<Duration> e2e;   // to the last token

  bool operator==(const SloConfig&) const = default;
};

struct Experiment {
  ModelShape model;
  HardwareSpec hardware;
  std::optional<std::filesystem::path> profile;  // absolute; measured kernel times in place of the roofline
  WorkloadSpec workload;
  ServingConfig serving;
  TrainingConfig training;
  ClusterConfig cluster;
  PolicyChoice policy;
  SloConfig slo{.ttft = Duration::seconds(1), .itl = Duration::milliseconds(100), .tpot = {}, .e2e = {}};
  std::int64_t seed = 42;
};

// What the command line changes.
struct ExperimentOverrides {
  std::vector<std::string> sets;  // "key.path=value", the value as YAML; paths in it relative to the working directory
  std::optional<std::string> trace;  // a file to replay in place of the workload
  std::optional<std::string> policy;
  std::optional<std::int64_t> seed;
};

// "KEY.PATH=VALUE" of the option ("--set"), whose value is YAML that stands in no file. ConfigError if it has no key;
// `value` is what the message says was expected behind "=".
YamlOverride parse_assignment(const std::string& option, const std::string& text, const std::string& value);

// The same changes as values to be put in their places, later ones upon earlier ones. ConfigError if a text has no key
// or two options give the same.
std::vector<YamlOverride> yaml_overrides(const ExperimentOverrides& overrides);

// Reads a built-in experiment or a file. Where `model`, `hardware`, `workload` or `policy` is a name and an override
// reaches into it, the named one is the base and the override changes it. ConfigError if a file is missing or wrong, if
// a key is unknown, or if the whole cannot work: a model that does not fit its GPU, a token budget below the batch
// size, ….
Experiment load_experiment(const std::string& name_or_path, const ExperimentOverrides& overrides = {});

// The same for a mapping.
Experiment read_experiment(const YamlValue& value);

// Its keys alone, without a look at whether the whole can work.
Experiment read_keys(const YamlValue& value);

// The same for the text of a file (`origin`), with values put in their places.
Experiment read_experiment(const std::string& text, const std::string& origin, const std::vector<YamlOverride>& values);

// The document that the last reads.
YamlValue experiment_document(const std::string& text, const std::string& origin,
                              const std::vector<YamlOverride>& values);

// YAML with every key, model and hardware written out and paths absolute: reading it gives the same experiment.
std::string emit_experiment(const Experiment& experiment);

// Division of the memory of one serving GPU.
MemoryPlan memory_plan(const Experiment& experiment);

// Longest prompt + output that is served, in tokens: as configured, else the least of what model and KV cache hold.
std::int64_t max_model_len(const Experiment& experiment);

}  // namespace alchemist
