#include "sim/app/distribution_config.h"

#include <charconv>
#include <utility>

#include "sim/base/check.h"

namespace alchemist {

namespace {

using Kind = DurationDistribution::Kind;

// number / factor with the largest of the units in which the text reads back to exactly `number`.
std::string format_scaled(double number, std::initializer_list<std::pair<double, const char*>> units) {
  for (const auto& [factor, unit] : units) {
    const double scaled = number / factor;
    if (scaled >= 1 && scaled * factor == number) return format_number(scaled) + " " + unit;
  }
  return format_number(number) + " " + std::prev(units.end())->second;
}

// The same for integers, and without fractions.
std::string format_whole(std::int64_t number, std::initializer_list<std::pair<std::int64_t, const char*>> units) {
  for (const auto& [factor, unit] : units) {
    if (number != 0 && number % factor == 0) return std::to_string(number / factor) + " " + unit;
  }
  return std::to_string(number) + " " + std::prev(units.end())->second;
}

}  // namespace

DurationDistribution read_duration_distribution(const YamlValue& value) {
  DurationDistribution result;
  YamlMap map(value);
  const std::string kind = map.single_key({"exponential", "fixed", "lognormal", "uniform"});
  const YamlValue argument = map.required(kind);
  if (kind == "fixed" || kind == "exponential") {
    result.kind = kind == "fixed" ? Kind::fixed : Kind::exponential;
    result.mean = argument.as_duration();
  } else if (kind == "lognormal") {
    YamlMap parts(argument);
    result.kind = Kind::lognormal;
    result.mean = parts.required("median").as_duration();
    result.sigma = parts.required("sigma").as_number(0, 10);
    parts.finish();
  } else {
    YamlMap parts(argument);
    result.kind = Kind::uniform;
    result.low = parts.required("low").as_duration();
    result.high = parts.required("high").as_duration();
    if (result.high < result.low) argument.fail("expected low not above high");
    parts.finish();
  }
  return result;
}

void emit_duration_distribution(YAML::Emitter& out, const DurationDistribution& d) {
  out << YAML::Flow << YAML::BeginMap;
  switch (d.kind) {
    case Kind::fixed:
      out << YAML::Key << "fixed" << YAML::Value << format_duration(d.mean);
      break;
    case Kind::exponential:
      out << YAML::Key << "exponential" << YAML::Value << format_duration(d.mean);
      break;
    case Kind::lognormal:
      out << YAML::Key << "lognormal" << YAML::Value << YAML::BeginMap << YAML::Key << "median" << YAML::Value
          << format_duration(d.mean) << YAML::Key << "sigma" << YAML::Value << format_number(d.sigma) << YAML::EndMap;
      break;
    case Kind::uniform:
      out << YAML::Key << "uniform" << YAML::Value << YAML::BeginMap << YAML::Key << "low" << YAML::Value
          << format_duration(d.low) << YAML::Key << "high" << YAML::Value << format_duration(d.high) << YAML::EndMap;
      break;
  }
  out << YAML::EndMap << YAML::Block;
}

std::string format_number(double number) {
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof text, number);
  check(error == std::errc(), "a double has at most 24 characters");
  return std::string(text, end);
}

std::string format_bytes(Bytes bytes) {
  return format_whole(bytes.count(),
                      {{1LL << 40, "TiB"}, {1LL << 30, "GiB"}, {1LL << 20, "MiB"}, {1LL << 10, "KiB"}, {1, "B"}});
}

std::string format_duration(Duration duration) {
  return format_whole(duration.count_ns(),
                      {{3'600'000'000'000, "h"}, {1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "us"}, {1, "ns"}});
}

std::string format_rate(double bytes_per_second) {
  return format_scaled(bytes_per_second, {{1e12, "TB/s"}, {1e9, "GB/s"}, {1e6, "MB/s"}, {1, "B/s"}});
}

std::string format_flops(double flops) {
  return format_scaled(flops, {{1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1, "FLOP/s"}});
}

}  // namespace alchemist
