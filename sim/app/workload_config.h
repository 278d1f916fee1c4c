// Workloads in YAML: reading and writing back.
#pragma once

#include <string>

#include "sim/app/yaml_reader.h"
#include "workloads/spec.h"

namespace alchemist {

// Reads the value of a `workload` key. It is one of
//   a scalar: a built-in name (configs/workloads), the path of a YAML file, or the path of a trace file to replay;
//   a mapping: an inline workload. `base: NAME_OR_PATH` starts from another workload and the other keys replace its
//   parts; `rate: R` (per second) overrides the rate of the arrivals, whatever their shape. So setting `workload.rate`
//   on a workload that is a bare name NAME means {base: NAME, rate: R}.
// Relative paths are relative to the file they stand in. Files are found, but traces are read only by make_source().
WorkloadSpec read_workload(const YamlValue& value);

// A trace file (a path from the command line), with what --format and the like say.
WorkloadSpec trace_workload(const std::string& path);

// Writes a mapping that read_workload() reads back to the same description; paths come out absolute.
void emit_workload(YAML::Emitter& out, const WorkloadSpec& spec);

}  // namespace alchemist
