// alchemist show KIND NAME: what a name stands for, in full.
#include <fmt/format.h>

#include <cstdio>

#include "sim/app/cli.h"
#include "sim/app/config_kinds.h"
#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/experiment.h"
#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "sim/app/workload_config.h"
#include "sim/base/error.h"

namespace alchemist {

namespace {

std::string gib(Bytes bytes) { return fmt::format("{:.2f} GiB", bytes.as_double() / (1LL << 30)); }

// A name and its value, aligned.
void print_row(const std::string& name, const std::string& text) { fmt::print("{:<28} {}\n", name, text); }

// Matrix products of one token through all layers and the output head, 2 FLOP a weight; attention comes on top with the
// context. What the layer graph derives for each operator goes below these totals.
void print_model(const std::string& name) {
  const ModelShape m = load_model(name);
  YAML::Emitter out;
  emit_model(out, m);
  fmt::print("{}\n\n", out.c_str());
  const std::int64_t matrices =
      m.layers * (2 * m.hidden * m.q_width() + 2 * m.hidden * m.kv_width() + 3 * m.hidden * m.intermediate) +
      m.vocabulary * m.hidden;
  print_row("parameters", fmt::format("{}", m.parameters()));
  print_row("parameters of a layer", fmt::format("{}", m.layer_parameters()));
  print_row("weights", fmt::format("{} B ({})", m.weight_bytes().count(), gib(m.weight_bytes())));
  print_row("KV cache of a token", format_bytes(m.kv_bytes_per_token()));
  print_row("FLOPs of a token", fmt::format("{:.4g} GFLOP forward, matrix products", 2e-9 * double(matrices)));
  print_row("  for each token of context", fmt::format("{:.4g} MFLOP", 4e-6 * double(m.q_width() * m.layers)));
}

void print_hardware(const std::string& name) {
  const HardwareSpec h = load_hardware(name);
  YAML::Emitter out;
  emit_hardware(out, h);
  fmt::print("{}\n\n", out.c_str());
  const double flops = h.matrix_flops * h.matrix_efficiency, bandwidth = h.memory_bandwidth * h.memory_efficiency;
  print_row("reached in matrix products", fmt::format("{:.4g} TFLOP/s", flops * 1e-12));
  print_row("reached from memory", fmt::format("{:.4g} GB/s", bandwidth * 1e-9));
  print_row("balance", fmt::format("{:.4g} FLOP/B: below it memory is the limit", flops / bandwidth));
}

void print_workload(const std::string& name) {
  const std::string text = names_a_path(name) ? std::filesystem::absolute(name).lexically_normal().string() : name;
  YAML::Emitter out;
  emit_workload(out, read_workload(YamlValue(YAML::Node(text), "", "")));
  fmt::print("{}\n", out.c_str());
}

void print_experiment(const std::string& name, const std::vector<std::string>& sets) {
  ExperimentOverrides overrides;
  overrides.sets = sets;
  const Experiment e = load_experiment(name, overrides);
  const MemoryPlan plan = memory_plan(e);
  fmt::print("{}\n", emit_experiment(e));
  fmt::print("# Memory of one serving GPU: {} usable = weights {} + workspace {} + runtime {} + KV cache {}.\n",
             gib(plan.usable), gib(plan.weights), gib(plan.workspace), gib(plan.reserve), gib(plan.kv));
  fmt::print("# KV cache of a replica: {} tokens; longest request: {} tokens.\n", plan.kv_tokens, max_model_len(e));
}

void print_policy(const std::string& name) {
  const YamlValue value = YamlValue::load(resolve_config("policies", name, {}).string());
  YAML::Emitter out;
  out << value.node();
  fmt::print("{}\n", out.c_str());
}

}  // namespace

void add_show_command(CLI::App& app) {
  struct Arguments {
    std::string kind, name;
    std::vector<std::string> sets;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("show", "What a name stands for, in full");
  command->add_option("KIND", arguments->kind, "model, hardware, workload, policy or experiment")->required();
  command->add_option("NAME", arguments->name, "a built-in name (see list) or a path")->required();
  command->add_option("--set", arguments->sets, "for an experiment: KEY.PATH=VALUE")->allow_extra_args(false);
  command->callback([arguments] {
    const std::string& kind = find_config_kind(arguments->kind).name;
    if (kind != "experiment" && !arguments->sets.empty()) throw ConfigError("--set: only for experiments");
    if (kind == "model") return print_model(arguments->name);
    if (kind == "hardware") return print_hardware(arguments->name);
    if (kind == "workload") return print_workload(arguments->name);
    if (kind == "experiment") return print_experiment(arguments->name, arguments->sets);
    if (kind == "policy") return print_policy(arguments->name);
    throw ConfigError("KIND " + arguments->kind + ": cannot be shown");
  });
}

}  // namespace alchemist
