#include "sim/app/hardware_config.h"

#include <fmt/format.h>

#include <variant>

#include "sim/app/config_paths.h"
#include "sim/app/distribution_config.h"

namespace alchemist {

namespace {

enum class FigureKind { bytes, rate, flops, share, factor, count, duration, flag };

// One table for reading and writing. All are positive, but for durations, which may be 0, and required unless they say
// so. What is not required is written only where it differs from its default.
struct Field {
  const char* key;
  FigureKind quantity;
  std::variant<Bytes HardwareSpec::*, double HardwareSpec::*, std::int64_t HardwareSpec::*, Duration HardwareSpec::*,
               bool HardwareSpec::*>
      member;
  bool required = true;
};

const Field kFields[] = {
    {"memory", FigureKind::bytes, &HardwareSpec::memory},
    {"memory_bandwidth", FigureKind::rate, &HardwareSpec::memory_bandwidth},
    {"memory_efficiency", FigureKind::share, &HardwareSpec::memory_efficiency},
    {"bandwidth_saturation", FigureKind::share, &HardwareSpec::bandwidth_saturation, false},
    {"matrix_flops", FigureKind::flops, &HardwareSpec::matrix_flops},
    {"matrix_efficiency", FigureKind::share, &HardwareSpec::matrix_efficiency},
    {"attention_efficiency", FigureKind::share, &HardwareSpec::attention_efficiency},
    {"vector_flops", FigureKind::flops, &HardwareSpec::vector_flops},
    {"shared_memory", FigureKind::bytes, &HardwareSpec::shared_memory},
    {"processors", FigureKind::count, &HardwareSpec::processors},
    {"kernel_overhead", FigureKind::duration, &HardwareSpec::kernel_overhead},
    {"step_overhead", FigureKind::duration, &HardwareSpec::step_overhead},
    {"link_h2d_bandwidth", FigureKind::rate, &HardwareSpec::link_h2d_bandwidth},
    {"link_d2h_bandwidth", FigureKind::rate, &HardwareSpec::link_d2h_bandwidth},
    {"link_duplex_bandwidth", FigureKind::rate, &HardwareSpec::link_duplex_bandwidth},
    {"link_pageable_bandwidth", FigureKind::rate, &HardwareSpec::link_pageable_bandwidth},
    {"link_latency", FigureKind::duration, &HardwareSpec::link_latency},
    {"copy_slowdown", FigureKind::factor, &HardwareSpec::copy_slowdown},
    {"link_slowdown", FigureKind::factor, &HardwareSpec::link_slowdown, false},
    {"recording_slowdown", FigureKind::factor, &HardwareSpec::recording_slowdown, false},
    {"serving_cold_start", FigureKind::duration, &HardwareSpec::serving_cold_start, false},
    {"cold_start_steps", FigureKind::factor, &HardwareSpec::cold_start_steps, false},
    {"cold_piece_tokens", FigureKind::count, &HardwareSpec::cold_piece_tokens, false},
    {"cold_prompt_tokens", FigureKind::count, &HardwareSpec::cold_prompt_tokens, false},
    {"cold_idle", FigureKind::duration, &HardwareSpec::cold_idle, false},
    {"training_cold_start", FigureKind::duration, &HardwareSpec::training_cold_start, false},
    {"token_tile", FigureKind::count, &HardwareSpec::token_tile, false},
    {"host_memory", FigureKind::bytes, &HardwareSpec::host_memory},
    {"host_memory_pinned", FigureKind::flag, &HardwareSpec::host_memory_pinned, false},
    {"interconnect_bandwidth", FigureKind::rate, &HardwareSpec::interconnect_bandwidth},
    {"interconnect_latency", FigureKind::duration, &HardwareSpec::interconnect_latency},
};

// Slower hardware than any: with much less a step would take longer than a clock of nanoseconds can tell, 292 years.
constexpr double kLeastRate = 1e6, kLeastFlops = 1e9, kLeastShare = 1e-3;

double at_least(const YamlValue& value, double number, double least, const char* text) {
  if (number < least) value.fail(fmt::format("expected at least {}", text));
  return number;
}

double read_number(const YamlValue& value, FigureKind quantity) {
  switch (quantity) {
    case FigureKind::rate:
      return at_least(value, value.as_rate(), kLeastRate, "1 MB/s");
    case FigureKind::flops:
      return at_least(value, value.as_flops(), kLeastFlops, "1 GFLOP/s");
    case FigureKind::share:
      return value.as_number(kLeastShare, 1);
    default:
      return value.as_number(1, 100);
  }
}

void read_field(const YamlValue& value, const Field& field, HardwareSpec& hardware) {
  if (const auto* bytes = std::get_if<Bytes HardwareSpec::*>(&field.member)) {
    hardware.*(*bytes) = value.as_bytes();
    if (hardware.*(*bytes) <= Bytes()) value.fail("expected more than 0");
  } else if (const auto* duration = std::get_if<Duration HardwareSpec::*>(&field.member)) {
    hardware.*(*duration) = value.as_duration();
  } else if (const auto* count = std::get_if<std::int64_t HardwareSpec::*>(&field.member)) {
    hardware.*(*count) = value.as_int(1, 1'000'000);
  } else if (const auto* flag = std::get_if<bool HardwareSpec::*>(&field.member)) {
    hardware.*(*flag) = value.as_bool();
  } else {
    hardware.*std::get<double HardwareSpec::*>(field.member) = read_number(value, field.quantity);
  }
}

std::string format_field(const Field& field, const HardwareSpec& hardware) {
  if (const auto* bytes = std::get_if<Bytes HardwareSpec::*>(&field.member)) return format_bytes(hardware.*(*bytes));
  if (const auto* duration = std::get_if<Duration HardwareSpec::*>(&field.member))
    return format_duration(hardware.*(*duration));
  if (const auto* count = std::get_if<std::int64_t HardwareSpec::*>(&field.member))
    return std::to_string(hardware.*(*count));
  if (const auto* flag = std::get_if<bool HardwareSpec::*>(&field.member)) return hardware.*(*flag) ? "true" : "false";
  const double number = hardware.*std::get<double HardwareSpec::*>(field.member);
  if (field.quantity == FigureKind::rate) return format_rate(number);
  if (field.quantity == FigureKind::flops) return format_flops(number);
  return format_number(number);
}

bool is_default(const Field& field, const HardwareSpec& hardware) {
  return std::visit([&](auto member) { return hardware.*member == HardwareSpec().*member; }, field.member);
}

HardwareSpec read_hardware(const YamlValue& value, int depth);

HardwareSpec read_mapping(const YamlValue& value, const std::string& default_name, int depth) {
  YamlMap map(value);
  HardwareSpec hardware;
  hardware.name = default_name;
  const std::optional<YamlValue> base = map.optional("base");
  if (base) hardware = read_hardware(*base, depth_below(*base, depth));
  if (auto name = map.optional("name")) hardware.name = name->as_name();
  std::string missing;
  for (const Field& field : kFields) {
    const std::optional<YamlValue> found = map.optional(field.key);
    if (found) read_field(*found, field, hardware);
    if (!found && !base && field.required) missing += (missing.empty() ? "" : ", ") + std::string(field.key);
  }
  map.finish();
  if (!missing.empty()) value.fail("expected base, a GPU whose figures hold for what is not given, or also " + missing);
  return hardware;
}

HardwareSpec read_hardware_file(const std::filesystem::path& path, int depth) {
  return read_mapping(YamlValue::load(path.string()), path.stem().string(), depth);
}

HardwareSpec read_hardware(const YamlValue& value, int depth) {
  if (!value.is_scalar()) return read_mapping(value, "inline", depth);
  return read_hardware_file(resolve_named("hardware", value), depth);
}

}  // namespace

HardwareSpec read_hardware(const YamlValue& value) { return read_hardware(value, kMostBases); }

HardwareSpec with_measured_host(HardwareSpec hardware, const std::string& file) {
  const YamlValue document = YamlValue::load(file);
  YamlMap map(document);
  for (const Field& field : kFields) {
    if (const auto found = map.optional(field.key)) read_field(*found, field, hardware);
  }
  map.finish();
  return hardware;
}

HardwareSpec load_hardware(const std::string& name) {
  return read_hardware_file(resolve_config("hardware", name, {}), kMostBases);
}

void emit_hardware(YAML::Emitter& out, const HardwareSpec& hardware) {
  out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << hardware.name;
  for (const Field& field : kFields) {
    if (!field.required && is_default(field, hardware)) continue;
    out << YAML::Key << field.key << YAML::Value << format_field(field, hardware);
  }
  out << YAML::EndMap;
}

}  // namespace alchemist
