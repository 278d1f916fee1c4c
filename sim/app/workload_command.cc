// alchemist workload generate | convert | inspect
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/cli.h"
#include "sim/app/option_checks.h"
#include "sim/app/python_tools.h"
#include "sim/app/workload_config.h"
#include "sim/app/workload_summary.h"
#include "sim/base/error.h"
#include "sim/report/output_file.h"
#include "workloads/conversations.h"
#include "workloads/drive.h"
#include "workloads/trace.h"
#include "workloads/write_trace.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

struct WorkloadOptions {
  std::string input;  // of convert: a file; else a name, YAML file or trace
  std::string format = "auto";
  std::string to = "vidur";
  std::string out;
  std::string figure;
  std::string against;
  std::uint64_t seed = 42;
  std::optional<std::int64_t> requests;
  std::string duration;
  std::optional<double> rate;
  std::optional<double> rate_scale;
  std::optional<std::int32_t> block_tokens;
  std::optional<double> characters_per_token;
  std::string tokenizer;
  bool json = false;
};

TraceFormat input_format(const std::string& name) {
  const auto format = parse_format(name);
  if (!format) throw ConfigError("--format: expected " + format_names() + ", got \"" + name + "\"");
  return *format;
}

// One that can be written.
TraceFormat output_format(const std::string& name) {
  const auto format = parse_format(name);
  if (format && TraceWriter::writes(*format)) return *format;
  throw ConfigError("--to: expected " + format_names(TraceWriter::writes) + ", got \"" + name + "\"" +
                    (format == TraceFormat::sharegpt ? ", which holds texts and cannot be written" : ""));
}

// What the command line says about reading a trace.
void apply_trace_options(const WorkloadOptions& o, TraceSpec& trace) {
  trace.format = input_format(o.format);
  if (o.block_tokens) trace.block_tokens = o.block_tokens;
  if (o.characters_per_token) trace.characters_per_token = o.characters_per_token;
  if (!o.tokenizer.empty()) trace.tokenizer = o.tokenizer;
  if (o.rate_scale) {
    trace.rate_scale = *o.rate_scale;
    trace.rate.reset();  // of the description
  }
}

void check_rate(const WorkloadOptions& o) {
  if (o.rate && o.rate_scale) throw ConfigError("--rate, --rate-scale: expected one of them");
}

// A description as for a `workload` key, with what the command line changes put over it, so that one reader checks
// both.
WorkloadSpec spec_of(const WorkloadOptions& o) {
  check_rate(o);
  // By itself first: what is wrong with it is told without a key that nobody wrote.
  WorkloadSpec spec = read_workload(YamlValue(YAML::Node(o.input), "command line", ""));
  YAML::Node node;
  node["base"] = o.input;
  if (o.rate) node["rate"] = *o.rate;
  if (o.requests) node["requests"] = *o.requests;
  if (!o.duration.empty()) node["duration"] = o.duration;
  if (node.size() > 1) spec = read_workload(YamlValue(node, "command line", ""));
  if (auto* trace = std::get_if<TraceSpec>(&spec.source)) {
    apply_trace_options(o, *trace);
  } else if (o.rate_scale || o.format != "auto") {
    throw ConfigError((o.rate_scale ? "--rate-scale" : "--format") + (": " + o.input) + " is no trace");
  }
  return spec;
}

// Writes the requests to a file that appears when it is complete.
void write_requests(const WorkloadSpec& spec, const WorkloadOptions& o, TraceFormat format) {
  TraceWriter writer(format, o.block_tokens);
  const fs::path path = fs::absolute(o.out);
  ResultDirectory directory(path.parent_path());
  OutputFile& file = directory.create(path.filename().string());
  std::string text;
  writer.header(text);
  std::int64_t count = 0;
  const auto write = [&](const WorkloadRequest& request) {
    writer.request(request, text);
    file.write(text);
    text.clear();
    ++count;
  };
  if (!for_each_request(spec, o.seed, write)) {
    throw ConfigError(
        o.input +
        ": has no arrival times; make a workload of it with lengths: {empirical: FILE}, or of texts {empirical: {file: "
        "FILE, characters_per_token: 4}}");
  }
  if (count == 0) throw ConfigError(o.input + ": yields no request");
  file.write(text);
  directory.commit();
  std::fprintf(stderr, "%s: %lld requests\n", o.out.c_str(), static_cast<long long>(count));
  if (const std::string lost = writer.lost(); !lost.empty()) {
    std::fprintf(stderr, "alchemist: warning: %s does not say %s\n", o.to.c_str(), lost.c_str());
  }
}

void generate(const WorkloadOptions& o) { write_requests(spec_of(o), o, output_format(o.to)); }

void convert(const WorkloadOptions& o) {
  check_rate(o);
  WorkloadSpec spec = trace_workload(o.input);
  auto& trace = std::get<TraceSpec>(spec.source);
  apply_trace_options(o, trace);
  if (o.rate) trace.rate = *o.rate;
  spec.requests = o.requests;
  write_requests(spec, o, output_format(o.to));
}

// The conversations of a workload: those of its file, or as many draws as are needed for steady quantiles.
std::vector<std::vector<Turn>> conversations_of_spec(const WorkloadSpec& spec, std::uint64_t seed) {
  if (const auto* trace = std::get_if<TraceSpec>(&spec.source)) return conversations_of(read_trace(*trace));
  constexpr std::size_t kDraws = 50'000;
  std::vector<std::vector<Turn>> drawn(kDraws);
  const auto sampler = make_conversations(std::get<GeneratedWorkload>(spec.source), seed);
  for (auto& turns : drawn) sampler->draw(turns);
  return drawn;
}

// Draws to a PNG file, which appears when it is complete.
void draw_figure(const nlohmann::ordered_json& numbers, const std::string& out) {
  const std::string python = find_python("--figure", "matplotlib");
  const std::string script = find_tool("plot_workload.py").string();
  const fs::path partial = fs::path(out + ".partial.png"), data = fs::path(out + ".partial.json");
  const auto clean = [&] {
    std::error_code ignored;
    fs::remove(partial, ignored);
    fs::remove(data, ignored);
  };
  try {
    OutputFile file(data);
    file.write(numbers.dump());
    file.close();
    if (!run_program({python, "-B", script, data.string(), partial.string()}, Output::shown))
      throw ConfigError("--figure: the figure could not be drawn");
    std::error_code error;
    fs::rename(partial, out, error);
    if (error) throw ConfigError(out + ": " + error.message());
  } catch (...) {
    clean();
    throw;
  }
  clean();
}

void inspect(const WorkloadOptions& o) {
  const WorkloadSpec spec = spec_of(o);
  WorkloadSummary summary;
  const bool has_arrivals = for_each_request(spec, o.seed, [&](const WorkloadRequest& r) { summary.add(r); });
  if (summary.requests() == 0) throw ConfigError(o.input + ": yields no request");
  std::optional<ConversationComparison> comparison;
  if (!o.against.empty()) {
    TraceSpec real;
    real.path = o.against;
    if (o.characters_per_token) real.characters_per_token = o.characters_per_token;
    if (!o.tokenizer.empty()) real.tokenizer = o.tokenizer;
    comparison.emplace(conversations_of_spec(spec, o.seed), conversations_of(read_trace(real)));
  }
  nlohmann::ordered_json numbers;
  if (o.json || !o.figure.empty()) {
    numbers["workload"] = spec.name;
    numbers.update(summary.json(has_arrivals));
    if (comparison) numbers["against"] = comparison->json();
  }
  if (!o.figure.empty()) draw_figure(numbers, o.figure);
  if (o.json) {
    std::printf("%s\n", numbers.dump(2).c_str());
    return;
  }
  std::printf("%s\n%s", spec.name.c_str(), summary.text(has_arrivals).c_str());
  if (comparison) std::printf("%s", comparison->text().c_str());
}

void add_reading_options(CLI::App& command, WorkloadOptions& o) {
  command.add_option("--format", o.format, "format of a trace: " + format_names() + "; auto tells it from the content");
  command
      .add_option("--block-tokens", o.block_tokens,
                  "tokens that one hash id stands for, in what is read and what is written (512 where neither says)")
      ->check(whole_number(1, 1 << 20));
  command.add_option("--characters-per-token", o.characters_per_token, "of ShareGPT texts")->check(number(0.1, 100));
  command.add_option("--tokenizer", o.tokenizer, "SentencePiece .model that counts the tokens of ShareGPT texts");
  command.add_option("--rate-scale", o.rate_scale, "plays a trace this many times as fast")->check(number(1e-6, 1e6));
  command.add_option("--requests", o.requests, "at most this many")->check(whole_number(1, 4'000'000'000));
  command.add_option("--rate", o.rate, "mean requests per second")->check(number(1e-9, 1e6));
}

}  // namespace

void add_workload_command(CLI::App& app) {
  CLI::App* workload = app.add_subcommand("workload", "Makes, converts and describes traces");
  workload->require_subcommand(1);
  const auto options = std::make_shared<WorkloadOptions>();
  WorkloadOptions& o = *options;

  CLI::App* make = workload->add_subcommand("generate", "Writes the requests of a workload to a file");
  make->add_option("SPEC", o.input, "built-in name, YAML file or trace")->required();
  make->add_option("--seed", o.seed, "of the random streams")->check(whole_number(0));
  make->add_option("--duration", o.duration, "with its unit, such as \"2 h\"");
  make->add_option("--to", o.to, "format: " + format_names(TraceWriter::writes));
  make->add_option("--out", o.out, "file to write")->required();
  add_reading_options(*make, o);
  make->callback([options] { generate(*options); });

  CLI::App* turn = workload->add_subcommand("convert", "Writes a trace in another format");
  turn->add_option("IN", o.input, "trace")->required();
  turn->add_option("--to", o.to, "format: " + format_names(TraceWriter::writes))->required();
  turn->add_option("--out", o.out, "file to write")->required();
  add_reading_options(*turn, o);
  turn->callback([options] { convert(*options); });

  CLI::App* look =
      workload->add_subcommand("inspect", "Describes a workload: quantiles, rate over time, prefix sharing");
  look->add_option("SPEC", o.input, "built-in name, YAML file or trace")->required();
  look->add_option("--seed", o.seed, "of the random streams")->check(whole_number(0));
  look->add_option("--duration", o.duration, "with its unit, such as \"2 h\"");
  look->add_option("--against", o.against, "file of real conversations to compare with");
  look->add_option("--figure", o.figure, "also draws a figure to this PNG file");
  look->add_flag("--json", o.json, "prints the numbers as JSON");
  add_reading_options(*look, o);
  look->callback([options] { inspect(*options); });
}

}  // namespace alchemist
