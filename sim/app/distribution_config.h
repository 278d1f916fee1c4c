// DurationDistribution in YAML: {fixed: 5 s}, {exponential: 60 s}, {uniform: {low: 1 s, high: 2 s}} or
// {lognormal: {median: 30 s, sigma: 0.8}}.
#pragma once

#include "sim/app/yaml_reader.h"
#include "sim/base/distribution.h"

namespace alchemist {

DurationDistribution read_duration_distribution(const YamlValue& value);

// Writes a mapping that reads back to the same distribution.
void emit_duration_distribution(YAML::Emitter& out, const DurationDistribution& distribution);

// Quantities as text that reads back to exactly the same value: "80 GiB", "2.5 GB/s", "60 s".
std::string format_bytes(Bytes bytes);
std::string format_duration(Duration duration);
std::string format_rate(double bytes_per_second);
std::string format_flops(double flops);
std::string format_number(double number);  // shortest text that reads back to the same

}  // namespace alchemist
