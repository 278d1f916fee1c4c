// Hardware descriptions in YAML.
#pragma once

#include "sim/app/yaml_reader.h"
#include "sim/model/hardware.h"

namespace alchemist {

// Reads the value of a `hardware` key: a built-in name, the path of a YAML file, or a mapping with the fields of
// HardwareSpec as keys. `base: NAME_OR_PATH` starts from other hardware. ConfigError for what is missing or impossible.
HardwareSpec read_hardware(const YamlValue& value);

// The same for a name or path on the command line.
HardwareSpec load_hardware(const std::string& name);

// Writes a mapping that read_hardware() reads back to exactly the same figures.
void emit_hardware(YAML::Emitter& out, const HardwareSpec& hardware);

// `hardware` with what the file says in place of its own: host.yaml of a profile, with any of the keys of a hardware
// file.
HardwareSpec with_measured_host(HardwareSpec hardware, const std::string& file);

}  // namespace alchemist
