#include "sim/app/config_kinds.h"

#include "sim/app/yaml_reader.h"
#include "sim/base/error.h"

namespace alchemist {

const std::vector<ConfigKind>& config_kinds() {
  static const std::vector<ConfigKind> kinds = {{"model", "models"},           {"hardware", "hardware"},
                                                {"workload", "workloads"},     {"policy", "policies"},
                                                {"experiment", "experiments"}, {"sweep", "sweeps"}};
  return kinds;
}

const ConfigKind& find_config_kind(const std::string& name, const std::vector<std::string>& more) {
  std::vector<std::string> names;
  for (const ConfigKind& kind : config_kinds()) {
    if (name == kind.name || name == kind.folder) return kind;
    names.push_back(kind.name);
  }
  names.insert(names.end(), more.begin(), more.end());
  std::string list;
  for (const std::string& each : names) list += (list.empty() ? "" : ", ") + each;
  const std::optional<std::string> near = nearest_name(name, names);
  throw ConfigError("KIND " + name + ": expected one of " + list + (near ? "; did you mean \"" + *near + "\"?" : ""));
}

}  // namespace alchemist
