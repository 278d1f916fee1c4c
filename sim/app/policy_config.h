// Policies in YAML: which of the decisions that ship make up a named policy, and its few numbers.
#pragma once

#include <optional>
#include <string>

#include "sim/app/yaml_reader.h"
#include "sim/base/time.h"
#include "sim/policy/decisions.h"

namespace alchemist {

// What the node is told comes with PolicyParameters; here is what others make use of.
struct PolicySpec : PolicyParameters {
  std::string name;
  std::string description;
  std::string record = "none";
  std::string place = "none";
  std::string evict = "none";
  std::string restore = "none";
  std::string train = "none";
  bool separate = false;           // training has GPUs of its own
  double sm_share = 1;             // beside: of the SMs, while serving has the rest
  double gpu_record_share = 0.05;  // of the KV memory that records may take; more costs serving cached prefixes
  bool spare_memory = false;       // records may take more of it where the prefix cache loses hardly anything by that
  double host_record_share = 0.5;  // of the machine's memory, pinned for records and for activations that `fresh` sends
  std::optional<std::int64_t> micro_batch_tokens;  // none: usual_micro_batch_tokens()
  std::int32_t window_layers =
      16;  // whose activations are on the GPU at once, of those on their way from or to the host

  bool trains() const { return train != "none"; }
  bool records() const { return record != "none"; }
  bool fresh_on_host() const { return fresh == FreshActivations::kOffload || fresh == FreshActivations::kSpill; }
  bool uses_host() const { return records_on_host() || fresh_on_host(); }
  // As the decisions themselves say.
  bool beside() const;
  bool heeds_max_itl() const;
  bool records_on_host() const;
  bool clairvoyant() const;
};

constexpr const char* kInlinePolicy = "inline";  // the name of one that has none

// What an experiment says of its policy. It depends on no file of the user's, so that it can be written to run again.
struct PolicyChoice {
  std::string name = "serve_only";  // for reports: of the built-in, the absolute path of a file, or as the key says
  std::string base = "serve_only";  // built-in; empty: none, and all keys stand here
  std::string keys;                 // in place of the base's, as a mapping on one line; empty: none

  bool operator==(const PolicyChoice&) const = default;
};

// A name, a path, or a mapping of keys with or without a `base` and a `name` for reports. What comes from a file is
// read here, and only here. ConfigError as below.
PolicyChoice read_policy(const YamlValue& value);

// All keys of a policy.
std::string policy_keys(const PolicySpec& spec);

// The value that is read as this policy.
void emit_policy(YAML::Emitter& out, const PolicyChoice& policy);

PolicySpec load_policy(const PolicyChoice& policy);

// A built-in name or the path of a YAML file. ConfigError for unknown keys and decisions, and for combinations that
// make no sense (records without a place, separate training that records).
PolicySpec load_policy(const std::string& name_or_path);

Policy make_policy(const PolicySpec& spec);

// What the policy does, for people.
std::string describe_policy(const PolicySpec& spec);

}  // namespace alchemist
