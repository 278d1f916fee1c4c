#include "sim/app/workload_config.h"

#include <array>
#include <filesystem>
#include <utility>

#include "sim/app/config_paths.h"
#include "sim/app/conversation_model_config.h"
#include "sim/app/distribution_config.h"
#include "sim/base/error.h"
#include "workloads/limits.h"
#include "workloads/trace.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

constexpr double kMinRate = 1e-9, kMaxRate = 1e6;     // requests/s
constexpr std::int64_t kMaxRequests = 4'000'000'000;  // request ids are 32 bits

double read_rate(const YamlValue& value) { return value.as_number(kMinRate, kMaxRate); }

std::int64_t read_tokens(const YamlValue& value) { return value.as_int(1, kMaxTokens); }

Duration read_positive_duration(const YamlValue& value) {
  const Duration duration = value.as_duration();
  if (duration <= Duration()) value.fail("expected a time above 0");
  return duration;
}

std::string find_trace(const YamlValue& file) {
  const fs::path path = resolve_path(file);
  std::error_code error;
  const std::string name = "\"" + fs::absolute(path).string() + "\"";
  if (!fs::exists(path, error)) file.fail("expected a trace file, there is none at " + name);
  if (fs::is_directory(path, error)) file.fail("expected a trace file, " + name + " is a folder");
  // What it holds is found out first and read afterwards.
  if (!fs::is_regular_file(path, error))
    file.fail("expected a trace file, " + name + " is a pipe or a device, which cannot be read twice");
  return path.string();
}

// Whatever a base says of the rate.
void set_scale(TraceSpec& trace, double scale) {
  trace.rate_scale = scale;
  trace.rate.reset();
}

// A file name, or a mapping with `file` and how to read it; `base` has what the mapping may leave out.
TraceSpec read_trace_spec(const YamlValue& value, const TraceSpec* base = nullptr) {
  TraceSpec spec;
  if (value.is_scalar()) {
    spec.path = find_trace(value);
    return spec;
  }
  YamlMap map(value);
  if (base != nullptr) spec = *base;
  if (const auto file = base == nullptr ? std::optional(map.required("file")) : map.optional("file"))
    spec.path = find_trace(*file);
  if (const auto format = map.optional("format")) {
    const auto parsed = parse_format(format->as_string());
    if (!parsed) format->fail("expected " + format_names());
    spec.format = *parsed;
  }
  const auto scale = map.optional("rate_scale"), rate = map.optional("rate");
  if (scale && rate) rate->fail("expected either rate or rate_scale");
  if (scale) set_scale(spec, scale->as_number(1e-6, 1e6));
  if (rate) {
    spec.rate = read_rate(*rate);
    spec.rate_scale = 1.0;
  }
  if (const auto block = map.optional("block_tokens")) {
    spec.block_tokens = static_cast<std::int32_t>(block->as_int(1, kMaxTokens));
  }
  if (const auto ratio = map.optional("characters_per_token")) spec.characters_per_token = ratio->as_number(0.1, 100);
  if (const auto model = map.optional("tokenizer")) spec.tokenizer = resolve_path(*model).string();
  map.finish();
  return spec;
}

// Every stay is drawn: very short ones between rare arrivals would take for ever.
void check_stays(const OnOffArrivals& a, const YamlValue& value, const std::string& expected) {
  const double stays = 2 / (a.rate_on * a.mean_on.in_seconds() + a.rate_off * a.mean_off.in_seconds());
  if (!(stays <= 1e6)) value.fail(expected + ": less than one arrival in a million stays");
}

OnOffArrivals read_on_off(YamlMap& map, const YamlValue& value) {
  OnOffArrivals a;
  a.rate_on = map.required("rate_on").as_number(0, kMaxRate);
  if (const auto off = map.optional("rate_off")) a.rate_off = off->as_number(0, kMaxRate);
  a.mean_on = read_positive_duration(map.required("mean_on"));
  a.mean_off = read_positive_duration(map.required("mean_off"));
  if (a.rate_on + a.rate_off < kMinRate) value.fail("expected a rate above 0 in one of the two states");
  check_stays(a, value, "expected longer mean_on and mean_off");
  return a;
}

DiurnalArrivals read_diurnal(YamlMap& map) {
  DiurnalArrivals a;
  a.rate = read_rate(map.required("rate"));
  if (const auto ratio = map.optional("peak_to_trough")) a.peak_to_trough = ratio->as_number(1, 1e6);
  if (const auto period = map.optional("period")) {
    a.period = read_positive_duration(*period);
    a.peak_at = Duration::nanoseconds(a.period.count_ns() / 2);
  }
  if (const auto peak = map.optional("peak_at")) a.peak_at = peak->as_duration();
  return a;
}

ArrivalSpec read_arrivals(const YamlValue& value) {
  YamlMap outer(value);
  const std::string kind = outer.single_key({"closed_loop", "diurnal", "fixed", "gamma", "on_off", "poisson", "trace"});
  const YamlValue inner = outer.required(kind);
  if (kind == "trace") return TraceArrivals{read_trace_spec(inner)};
  YamlMap map(inner);
  ArrivalSpec result;
  if (kind == "poisson") result = PoissonArrivals{read_rate(map.required("rate"))};
  if (kind == "fixed") result = FixedArrivals{read_rate(map.required("rate"))};
  if (kind == "gamma") {
    const double rate = read_rate(map.required("rate"));
    result = GammaArrivals{rate, map.required("cv").as_number(0.01, 100)};
  }
  if (kind == "on_off") result = read_on_off(map, inner);
  if (kind == "diurnal") result = read_diurnal(map);
  if (kind == "closed_loop") {
    result = ClosedLoopArrivals{static_cast<std::int32_t>(map.required("concurrent").as_int(1, 10'000'000))};
  }
  map.finish();
  return result;
}

// One distribution of tokens of the named kind.
TokenDistribution read_tokens_of_kind(const std::string& kind, const YamlValue& value) {
  if (kind == "fixed") return FixedTokens{read_tokens(value)};
  YamlMap map(value);
  TokenDistribution result;
  if (kind == "lognormal") {
    const double median = map.required("median").as_number(1, static_cast<double>(kMaxTokens));
    result = LognormalTokens{median, map.required("sigma").as_number(0, 10)};
  } else {
    const double exponent = kind == "zipf" ? map.required("exponent").as_number(0, 20) : 0.0;
    const std::int64_t low = read_tokens(map.required("low"));
    const YamlValue high_value = map.required("high");
    const std::int64_t high = read_tokens(high_value);
    if (high < low) high_value.fail("expected high not below low");
    if (kind == "uniform") {
      result = UniformTokens{low, high};
    } else {
      result = ZipfTokens{exponent, low, high};
    }
  }
  map.finish();
  return result;
}

// {fixed: 128} or {lognormal: {median: 900, sigma: 0.8}} and so on.
TokenDistribution read_token_distribution(const YamlValue& value) {
  YamlMap map(value);
  const std::string kind = map.single_key({"fixed", "lognormal", "uniform", "zipf"});
  return read_tokens_of_kind(kind, map.required(kind));
}

LengthSpec read_model_lengths(const YamlValue& value) {
  std::string name = "sharegpt";
  std::optional<YamlValue> model;
  if (value.is_map()) {
    YamlMap map(value);
    model = map.optional("model");
    if (model) name = model->as_string();
    map.finish();
  }
  const fs::path path =
      model ? resolve_named("workloads/models", *model) : resolve_config("workloads/models", name, {});
  if (names_a_path(name)) name = fs::absolute(path).string();
  return ModelLengths{name, read_conversation_model(path.string())};
}

LengthSpec read_lengths(const YamlValue& value) {
  if (value.is_scalar()) {
    if (value.as_string() != "sharegpt")
      value.fail("expected sharegpt or a mapping such as {fixed: {prompt: 512, output: 128}}");
    return read_model_lengths(value);
  }
  YamlMap map(value);
  if (map.optional("prompt") || map.optional("output")) {  // each part with a distribution of its own kind
    IndependentLengths lengths{read_token_distribution(map.required("prompt")),
                               read_token_distribution(map.required("output"))};
    map.finish();
    return lengths;
  }
  const std::string kind = map.single_key({"empirical", "fixed", "lognormal", "sharegpt", "uniform", "zipf"});
  const YamlValue inner = map.required(kind);
  if (kind == "sharegpt") return read_model_lengths(inner);
  if (kind == "empirical") return EmpiricalLengths{read_trace_spec(inner)};
  YamlMap parts(inner);
  IndependentLengths lengths{read_tokens_of_kind(kind, parts.required("prompt")),
                             read_tokens_of_kind(kind, parts.required("output"))};
  parts.finish();
  return lengths;
}

SessionSpec read_sessions(const YamlValue& value) {
  SessionSpec spec;
  YamlMap map(value);
  if (const auto turns = map.optional("turns")) {
    if (turns->is_scalar()) {
      spec.turns.mean = static_cast<double>(turns->as_int(1, 100'000));
    } else {
      YamlMap kind(*turns);
      kind.single_key({"geometric"});
      spec.turns = {TurnsSpec::Kind::geometric, kind.required("geometric").as_number(1, 1e4)};
    }
  }
  spec.think_time = read_duration_distribution(map.required("think_time"));
  if (const auto delay = map.optional("answer_delay")) spec.answer_delay = delay->as_duration();
  if (const auto time = map.optional("answer_time_per_token")) {
    spec.answer_time_per_token = time->as_duration();
    if (spec.answer_time_per_token > Duration::seconds(60)) time->fail("expected at most 1 min");
  }
  if (const auto warm_up = map.optional("warm_up")) spec.warm_up = warm_up->as_duration();
  map.finish();
  return spec;
}

// The keys of a generated workload; `spec` holds what a base has said.
void read_generated(YamlMap& map, WorkloadSpec& spec) {
  const auto arrivals = map.optional("arrivals");
  const auto lengths = map.optional("lengths");
  const auto sessions = map.optional("sessions");
  const std::array<std::pair<const char*, std::optional<std::int32_t> GeneratedWorkload::*>, 3> limits{
      {{"max_prompt_tokens", &GeneratedWorkload::max_prompt_tokens},
       {"max_output_tokens", &GeneratedWorkload::max_output_tokens},
       {"max_total_tokens", &GeneratedWorkload::max_total_tokens}}};
  const bool replays = std::holds_alternative<TraceSpec>(spec.source);
  if (replays && arrivals && lengths) spec.source = GeneratedWorkload{};
  if (auto* generated = std::get_if<GeneratedWorkload>(&spec.source)) {
    if (arrivals) generated->arrivals = read_arrivals(*arrivals);
    if (lengths) generated->lengths = read_lengths(*lengths);
    if (sessions) generated->sessions = read_sessions(*sessions);
    for (const auto& [key, member] : limits) {
      if (const auto limit = map.optional(key)) {
        generated->*member = static_cast<std::int32_t>(limit->as_int(key == limits[2].first ? 2 : 1, kMaxTokens));
      }
    }
    if (std::holds_alternative<ClosedLoopArrivals>(generated->arrivals) && !generated->sessions) {
      map.value().fail("a closed loop needs a key \"sessions\" with the think_time");
    }
    return;
  }
  for (const auto& given : {arrivals, lengths, sessions}) {
    if (given)
      given->fail("a replayed trace has arrivals and lengths of its own; give both arrivals and lengths to replace it");
  }
}

WorkloadSpec read_mapping(const YamlValue& value, int depth);

WorkloadSpec read_scalar(const YamlValue& value, int depth) {
  const std::string name = value.as_string();
  const std::string extension = fs::path(name).extension().string();
  if (extension == ".csv" || extension == ".jsonl" || extension == ".json" ||
      (names_a_path(name) && extension != ".yaml" && extension != ".yml")) {
    WorkloadSpec spec;
    spec.source = read_trace_spec(value);
    spec.name = fs::path(name).filename().string();
    return spec;
  }
  const fs::path path = resolve_named("workloads", value);
  WorkloadSpec spec = read_mapping(YamlValue::load(path.string()), depth);
  spec.name = path.stem().string();
  return spec;
}

WorkloadSpec read_mapping(const YamlValue& value, int depth) {
  YamlMap map(value);
  WorkloadSpec spec;
  spec.name = "inline";
  if (const auto base = map.optional("base")) {
    spec = read_scalar(*base, depth_below(*base, depth));
    if (const auto trace = map.optional("trace")) {
      const auto* replayed = std::get_if<TraceSpec>(&spec.source);
      if (replayed == nullptr) trace->fail("the workload \"" + base->as_string() + "\" replays no trace");
      spec.source = read_trace_spec(*trace, replayed);
    }
  } else if (const auto trace = map.optional("trace")) {
    spec.source = read_trace_spec(*trace);
    spec.name = fs::path(std::get<TraceSpec>(spec.source).path).filename().string();
  } else {
    map.required("arrivals");
    map.required("lengths");
  }
  read_generated(map, spec);
  if (const auto requests = map.optional("requests")) {
    spec.requests = requests->as_int(1, kMaxRequests);
    if (map.optional("base")) spec.duration.reset();
  }
  if (const auto duration = map.optional("duration")) {
    spec.duration = read_positive_duration(*duration);
    if (map.optional("base") && !map.optional("requests")) spec.requests.reset();
  }
  if (const auto rate = map.optional("rate")) {
    const double number = read_rate(*rate);
    try {
      set_rate(spec, number);
    } catch (const ConfigError& e) { rate->fail(e.what()); }
    const auto* made = std::get_if<GeneratedWorkload>(&spec.source);
    const auto* on_off = made == nullptr ? nullptr : std::get_if<OnOffArrivals>(&made->arrivals);
    if (on_off != nullptr) check_stays(*on_off, *rate, "expected a higher rate, or longer mean_on and mean_off");
  }
  map.finish();
  const auto* generated = std::get_if<GeneratedWorkload>(&spec.source);
  if (generated && !spec.requests && !spec.duration && !std::holds_alternative<TraceArrivals>(generated->arrivals)) {
    value.fail("expected a key \"requests\" or \"duration\": a generated workload does not end by itself");
  }
  return spec;
}

}  // namespace

WorkloadSpec read_workload(const YamlValue& value) {
  if (value.is_scalar()) return read_scalar(value, kMostBases);
  if (value.is_map()) return read_mapping(value, kMostBases);
  value.fail("expected a workload: a built-in name, a path, or a mapping");
}

WorkloadSpec trace_workload(const std::string& path) {
  WorkloadSpec spec;
  TraceSpec trace;
  trace.path = path;
  spec.source = trace;
  spec.name = fs::path(path).filename().string();
  return spec;
}

}  // namespace alchemist
