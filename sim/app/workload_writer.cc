// Writes a workload's description back to YAML.
#include <filesystem>
#include <string>

#include "sim/app/distribution_config.h"
#include "sim/app/workload_config.h"
#include "workloads/trace.h"

namespace alchemist {
namespace {

// One line such as {rate: 4, cv: 2}.
class FlowMap {
 public:
  explicit FlowMap(YAML::Emitter& out) : out_(out) { out_ << YAML::Flow << YAML::BeginMap; }
  ~FlowMap() { out_ << YAML::EndMap << YAML::Block; }
  FlowMap(const FlowMap&) = delete;
  FlowMap& operator=(const FlowMap&) = delete;
  FlowMap& add(const char* key, const std::string& text) {
    out_ << YAML::Key << key << YAML::Value << text;
    return *this;
  }
  FlowMap& add(const char* key, double number) { return add(key, format_number(number)); }
  FlowMap& add(const char* key, std::int64_t number) { return add(key, std::to_string(number)); }
  FlowMap& add(const char* key, Duration duration) { return add(key, format_duration(duration)); }
  // The value follows; the caller emits it.
  YAML::Emitter& key(const char* name) { return out_ << YAML::Key << name << YAML::Value; }

 private:
  YAML::Emitter& out_;
};

void emit_trace(YAML::Emitter& out, const TraceSpec& spec) {
  FlowMap map(out);
  map.add("file", std::filesystem::absolute(spec.path).lexically_normal().string());
  if (spec.format != TraceFormat::automatic) map.add("format", std::string(format_name(spec.format)));
  if (spec.rate_scale != 1.0) map.add("rate_scale", spec.rate_scale);
  if (spec.rate) map.add("rate", *spec.rate);
  if (spec.block_tokens) map.add("block_tokens", std::int64_t{*spec.block_tokens});
  if (spec.characters_per_token) map.add("characters_per_token", *spec.characters_per_token);
  if (spec.tokenizer) map.add("tokenizer", std::filesystem::absolute(*spec.tokenizer).lexically_normal().string());
}

struct EmitArrivals {
  YAML::Emitter& out;
  void operator()(const PoissonArrivals& a) const { FlowMap(inner("poisson")).add("rate", a.rate); }
  void operator()(const FixedArrivals& a) const { FlowMap(inner("fixed")).add("rate", a.rate); }
  void operator()(const GammaArrivals& a) const { FlowMap(inner("gamma")).add("rate", a.rate).add("cv", a.cv); }
  void operator()(const OnOffArrivals& a) const {
    FlowMap(inner("on_off"))
        .add("rate_on", a.rate_on)
        .add("rate_off", a.rate_off)
        .add("mean_on", a.mean_on)
        .add("mean_off", a.mean_off);
  }
  void operator()(const DiurnalArrivals& a) const {
    FlowMap(inner("diurnal"))
        .add("rate", a.rate)
        .add("peak_to_trough", a.peak_to_trough)
        .add("period", a.period)
        .add("peak_at", a.peak_at);
  }
  void operator()(const TraceArrivals& a) const { emit_trace(inner("trace"), a.trace); }
  void operator()(const ClosedLoopArrivals& a) const {
    FlowMap(inner("closed_loop")).add("concurrent", std::int64_t{a.concurrent});
  }
  YAML::Emitter& inner(const char* kind) const { return out << YAML::Key << kind << YAML::Value; }
};

void emit_arrivals(YAML::Emitter& out, const ArrivalSpec& arrivals) {
  out << YAML::Key << "arrivals" << YAML::Value << YAML::BeginMap;
  std::visit(EmitArrivals{out}, arrivals);
  out << YAML::EndMap;
}

struct EmitTokens {
  FlowMap& map;
  YAML::Emitter& out;
  void operator()(const FixedTokens& d) const { map.add("fixed", d.tokens); }
  void operator()(const UniformTokens& d) const { FlowMap(map.key("uniform")).add("low", d.low).add("high", d.high); }
  void operator()(const LognormalTokens& d) const {
    FlowMap(map.key("lognormal")).add("median", d.median).add("sigma", d.sigma);
  }
  void operator()(const ZipfTokens& d) const {
    FlowMap(map.key("zipf")).add("exponent", d.exponent).add("low", d.low).add("high", d.high);
  }
};

void emit_lengths(YAML::Emitter& out, const LengthSpec& lengths) {
  out << YAML::Key << "lengths" << YAML::Value << YAML::BeginMap;
  if (const auto* independent = std::get_if<IndependentLengths>(&lengths)) {
    for (const auto& [key, part] : {std::pair{"prompt", &independent->prompt}, {"output", &independent->output}}) {
      out << YAML::Key << key << YAML::Value;
      FlowMap map(out);
      std::visit(EmitTokens{map, out}, *part);
    }
  } else if (const auto* file = std::get_if<EmpiricalLengths>(&lengths)) {
    out << YAML::Key << "empirical" << YAML::Value;
    emit_trace(out, file->trace);
  } else {
    out << YAML::Key << "sharegpt" << YAML::Value;
    FlowMap(out).add("model", std::get<ModelLengths>(lengths).name);
  }
  out << YAML::EndMap;
}

void emit_sessions(YAML::Emitter& out, const SessionSpec& sessions) {
  out << YAML::Key << "sessions" << YAML::Value << YAML::BeginMap << YAML::Key << "turns" << YAML::Value;
  if (sessions.turns.kind == TurnsSpec::Kind::fixed) {
    out << format_number(sessions.turns.mean);
  } else {
    FlowMap(out).add("geometric", sessions.turns.mean);
  }
  out << YAML::Key << "think_time" << YAML::Value;
  emit_duration_distribution(out, sessions.think_time);
  out << YAML::Key << "answer_delay" << YAML::Value << format_duration(sessions.answer_delay) << YAML::Key
      << "answer_time_per_token" << YAML::Value << format_duration(sessions.answer_time_per_token) << YAML::Key
      << "warm_up" << YAML::Value << format_duration(sessions.warm_up) << YAML::EndMap;
}

}  // namespace

void emit_workload(YAML::Emitter& out, const WorkloadSpec& spec) {
  out << YAML::BeginMap;
  if (const auto* trace = std::get_if<TraceSpec>(&spec.source)) {
    out << YAML::Key << "trace" << YAML::Value;
    emit_trace(out, *trace);
  } else {
    const auto& generated = std::get<GeneratedWorkload>(spec.source);
    emit_arrivals(out, generated.arrivals);
    emit_lengths(out, generated.lengths);
    if (generated.sessions) emit_sessions(out, *generated.sessions);
    const auto limit = [&](const char* key, const std::optional<std::int32_t>& value) {
      if (value) out << YAML::Key << key << YAML::Value << *value;
    };
    limit("max_prompt_tokens", generated.max_prompt_tokens);
    limit("max_output_tokens", generated.max_output_tokens);
    limit("max_total_tokens", generated.max_total_tokens);
  }
  if (spec.requests) out << YAML::Key << "requests" << YAML::Value << *spec.requests;
  if (spec.duration) out << YAML::Key << "duration" << YAML::Value << format_duration(*spec.duration);
  out << YAML::EndMap;
}

}  // namespace alchemist
