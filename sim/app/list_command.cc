// alchemist list [KIND]: what is built in.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "sim/app/cli.h"
#include "sim/app/config_kinds.h"
#include "sim/app/config_paths.h"

namespace alchemist {

namespace {

// The first sentence of the comment that a file begins with, or its `description`.
std::string describe_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  for (const std::string start : {"# ", "description: "}) {
    if (!line.starts_with(start)) continue;
    line = line.substr(start.size());
    const std::size_t end = std::min(line.find(". "), line.find(": "));  // the rest says where it comes from
    return end == std::string::npos ? line : line.substr(0, end);
  }
  return "";
}

void list_kind(const ConfigKind& kind) {
  fmt::print("{}:\n", kind.folder);
  for (const std::string& name : list_configs(kind.folder))
    fmt::print("  {:<26} {}\n", name, describe_file(configs_directory() / kind.folder / (name + ".yaml")));
}

}  // namespace

void add_list_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("list", "What is built in: models, hardware, workloads, policies, experiments, sweeps");
  auto kind = std::make_shared<std::string>();
  command->add_option("KIND", *kind, "model, hardware, workload, policy, experiment or sweep; all without it");
  command->callback([kind] {
    if (!kind->empty()) return list_kind(find_config_kind(*kind));
    for (const ConfigKind& each : config_kinds()) {
      if (!list_configs(each.folder).empty()) list_kind(each);
    }
  });
}

}  // namespace alchemist
