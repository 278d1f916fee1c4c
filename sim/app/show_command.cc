// alchemist show KIND NAME: what a name stands for, in full.
#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <set>
#include <sstream>

#include "sim/app/breakeven.h"
#include "sim/app/cli.h"
#include "sim/app/config_kinds.h"
#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"
#include "sim/app/experiment.h"
#include "sim/app/gib.h"
#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "sim/app/option_checks.h"
#include "sim/app/policy_config.h"
#include "sim/app/sweep_points.h"
#include "sim/app/workload_config.h"
#include "sim/base/error.h"
#include "sim/model/describe_layer.h"
#include "sim/model/layer_costs.h"
#include "sim/model/record_set.h"

namespace alchemist {

namespace {

// A name and its value, aligned.
void print_row(const std::string& name, const std::string& text) { fmt::print("{:<28} {}\n", name, text); }

// Options of `show model`, as typed; an empty string stands for an option that was not given.
struct ModelOptions {
  std::string method, modules;
  std::optional<std::int64_t> rank;
  std::int64_t tensor_parallel = 1;
  bool dot = false;

  bool any() const { return dot || rank || !method.empty() || !modules.empty(); }
};

std::set<LinearModule> read_modules(const std::string& list) {
  std::set<LinearModule> modules;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    const std::optional<LinearModule> module = parse_module(word);
    if (!module) throw ConfigError("--modules " + list + ": expected a comma-separated list of q k v o gate up down");
    modules.insert(*module);
  }
  return modules;
}

// LoRA with its defaults unless the options say otherwise.
TrainingShape training_shape(const ModelOptions& options) {
  TrainingShape training;
  if (options.method == "full") {
    if (options.rank || !options.modules.empty()) throw ConfigError("--rank and --modules: only for --method lora");
    training.method = TrainingMethod::full;
  } else if (!options.method.empty() && options.method != "lora") {
    throw ConfigError("--method " + options.method + ": expected full or lora");
  }
  training.lora_rank = options.rank.value_or(training.lora_rank);
  if (!options.modules.empty()) training.lora_modules = read_modules(options.modules);
  return training;
}

ModelShape load_split_model(const std::string& name, std::int64_t tensor_parallel) {
  const ModelShape model = load_model(name);
  if (const auto error = split_error(model, tensor_parallel)) throw ConfigError("--tensor-parallel: " + *error);
  return model;
}

// What one of several GPUs holds.
void print_shard(const ModelShape& model, const TrainingShape& training, const LayerGraph& graph, std::int64_t gpus) {
  const ModelShape shard = gpu_shard(model, gpus);
  print_row(fmt::format("on each of {} GPUs", gpus), "");
  print_row("  weights", fmt::format("{} B ({})", shard.weight_bytes().count(), gib(shard.weight_bytes(), 2)));
  print_row("  KV cache of a token", format_bytes(shard.kv_bytes_per_token()));
  print_row("  record of a token",
            fmt::format("{} B", (find_record_set(graph, "minimal")->bytes_per_token * model.layers).count()));
  print_row("  trained parameters", fmt::format("{}", trained_parameters(model, training, gpus)));
}

// The totals of a token through all layers and the output head, then the layer graph.
void print_model(const std::string& name, const ModelOptions& options) {
  const std::int64_t gpus = options.tensor_parallel;
  const ModelShape m = load_split_model(name, gpus);
  const TrainingShape training = training_shape(options);
  const LayerGraph graph = build_layer_graph(m, training, gpus);
  if (options.dot) {
    fmt::print("{}", layer_graph_dot(graph, m.name));
    return;
  }
  YAML::Emitter out;
  emit_model(out, m);
  fmt::print("{}\n\n", out.c_str());
  const Work layer = layer_costs(build_layer_graph(m, training)).forward.work();
  const double layers = static_cast<double>(m.layers);
  const double products =
      layers * layer.matrix_flops_per_token + head_costs(m, training).forward.work().matrix_flops_per_token;
  print_row("parameters", fmt::format("{}", m.parameters()));
  if (m.experts > 0) print_row("  that a token passes", fmt::format("{}", m.active_parameters()));
  print_row("parameters of a layer", fmt::format("{}", m.layer_parameters()));
  print_row("weights", fmt::format("{} B ({})", m.weight_bytes().count(), gib(m.weight_bytes(), 2)));
  print_row("KV cache of a token", format_bytes(m.kv_bytes_per_token()));
  print_row("FLOPs of a token", fmt::format("{:.4g} GFLOP forward, matrix products", products * 1e-9));
  print_row("  for each token of context", fmt::format("{:.4g} MFLOP", layers * layer.matrix_flops_per_key * 1e-6));
  if (gpus > 1) print_shard(m, training, graph, gpus);
  fmt::print("\n{}", describe_layer_graph(m, training, gpus));
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
  emit_workload(out, read_workload(YamlValue(YAML::Node(text), "show workload", "")));
  fmt::print("{}\n", out.c_str());
}

void print_experiment(const std::string& name, const std::vector<std::string>& sets) {
  ExperimentOverrides overrides;
  overrides.sets = sets;
  const Experiment e = load_experiment(name, overrides);
  const MemoryPlan plan = memory_plan(e);
  fmt::print("{}\n", emit_experiment(e));
  fmt::print("# Memory of one serving GPU: {} usable = weights {} + workspace {} + runtime {} + KV cache {}.\n",
             gib(plan.usable, 2), gib(plan.weights, 2), gib(plan.workspace, 2), gib(plan.reserve, 2), gib(plan.kv, 2));
  fmt::print("# KV cache of a replica: {} tokens; longest request: {} tokens.\n", plan.kv_tokens, max_model_len(e));
}

void print_sweep(const std::string& name) {
  const SweepSpec spec = load_sweep(name);
  const std::size_t points = grid_points(spec).size(), seeds = spec.seeds.size();
  fmt::print("{}\n# {} {}, {} {} each.\n", emit_sweep(spec), points, spec.goal ? "candidates" : "points", seeds,
             seeds == 1 ? "seed" : "seeds");
}

void print_breakeven(const std::string& model, const std::string& hardware, std::int64_t gpus, bool csv) {
  if (hardware.empty()) throw ConfigError("show breakeven: expected MODEL and HARDWARE");
  const ModelShape shape = load_split_model(model, gpus);
  const HardwareSpec spec = load_hardware(hardware);
  const auto tensor_parallel = static_cast<std::int32_t>(gpus);
  fmt::print("{}", csv ? breakeven_csv(breakeven_points(shape, spec, tensor_parallel))
                       : breakeven_table(shape, spec, tensor_parallel));
}

void print_policy(const std::string& name) { fmt::print("{}", describe_policy(load_policy(name))); }

}  // namespace

void add_show_command(CLI::App& app) {
  struct Arguments {
    std::string kind, name, hardware;
    std::vector<std::string> sets;
    ModelOptions model;
    bool csv = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("show", "What a name stands for, in full");
  command->add_option("KIND", arguments->kind, "model, hardware, workload, policy, experiment, sweep or breakeven")
      ->required();
  command->add_option("NAME", arguments->name, "a built-in name (see list) or a path")->required();
  command->add_option("HARDWARE", arguments->hardware, "for breakeven, where NAME is a model: on which hardware");
  command->add_option("--set", arguments->sets, "for an experiment: KEY.PATH=VALUE")->allow_extra_args(false);
  command->add_flag("--csv", arguments->csv, "for breakeven: CSV instead of a table");
  ModelOptions& model = arguments->model;
  command->add_option("--method", model.method, "for a model: full or lora (default)");
  command->add_option("--rank", model.rank, "for a model: rank of the adapters (16)")->check(whole_number(1, 1 << 16));
  command->add_option("--modules", model.modules, "for a model: modules with an adapter, such as q,v (all)");
  command
      ->add_option("--tensor-parallel", model.tensor_parallel,
                   "for a model or breakeven: GPUs over which each layer is split (1)")
      ->check(whole_number(1, kMostGpusOfAReplica));
  command->add_flag("--dot", model.dot, "for a model: the layer graph for Graphviz instead of tables");
  command->callback([arguments] {
    const bool breakeven = arguments->kind == "breakeven";
    const std::string& kind = breakeven ? arguments->kind : find_config_kind(arguments->kind, {"breakeven"}).name;
    if (!breakeven && (arguments->csv || !arguments->hardware.empty()))
      throw ConfigError("HARDWARE and --csv: only for breakeven");
    if (kind != "experiment" && !arguments->sets.empty()) throw ConfigError("--set: only for experiments");
    if (kind != "model" && !breakeven && arguments->model.tensor_parallel != 1)
      throw ConfigError("--tensor-parallel: only for models and breakeven");
    if (kind != "model" && arguments->model.any())
      throw ConfigError("--method, --rank, --modules, --dot: only for models");
    if (breakeven) {
      return print_breakeven(arguments->name, arguments->hardware, arguments->model.tensor_parallel, arguments->csv);
    }
    if (kind == "model") return print_model(arguments->name, arguments->model);
    if (kind == "hardware") return print_hardware(arguments->name);
    if (kind == "workload") return print_workload(arguments->name);
    if (kind == "experiment") return print_experiment(arguments->name, arguments->sets);
    if (kind == "policy") return print_policy(arguments->name);
    if (kind == "sweep") return print_sweep(arguments->name);
    throw ConfigError("KIND " + arguments->kind + ": cannot be shown");
  });
}

}  // namespace alchemist
