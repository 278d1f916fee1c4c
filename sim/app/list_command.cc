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

// Whole words that fit a line; what is left out leaves an ellipsis.
std::string shortened(const std::string& text) {
  constexpr std::size_t kMostColumns = 110;
  if (text.size() <= kMostColumns) return text;
  return text.substr(0, text.rfind(' ', kMostColumns)) + " …";
}

// The paragraph of comment that a file begins with, or its `description`.
std::string describe_file(const std::filesystem::path& file) {
  constexpr std::string_view kDescription = "description: ", kComment = "# ";
  std::ifstream in(file);
  std::string line, text;
  while (std::getline(in, line)) {
    if (text.empty() && line.starts_with(kDescription)) return shortened(line.substr(kDescription.size()));
    if (!line.starts_with(kComment)) break;
    text += (text.empty() ? "" : " ") + line.substr(kComment.size());
  }
  return shortened(text);
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
