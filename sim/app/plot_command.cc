// alchemist plot DIR...: figures and the report, drawn by the Python package tools/plot.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/app/cli.h"
#include "sim/app/python_tools.h"

namespace alchemist {
namespace {

struct PlotOptions {
  std::vector<std::string> directories;
  std::string out, format, title;
};

[[noreturn]] void plot(const PlotOptions& options) {
  std::vector<std::string> words{find_python("plot", "matplotlib, numpy, yaml"), "-B", find_tool("plot").string(),
                                 "--program", std::filesystem::read_symlink("/proc/self/exe").string()};
  const std::pair<const char*, const std::string&> named[] = {
      {"--out=", options.out}, {"--format=", options.format}, {"--title=", options.title}};
  for (const auto& [name, value] : named) {
    if (!value.empty()) words.push_back(name + value);
  }
  words.push_back("--");
  words.insert(words.end(), options.directories.begin(), options.directories.end());
  become_program(std::move(words));
}

}  // namespace

void add_plot_command(CLI::App& app) {
  auto options = std::make_shared<PlotOptions>();
  CLI::App* command =
      app.add_subcommand("plot", "Figures and a self-contained HTML report of runs, sweeps, validations and learning");
  command->add_option("DIR", options->directories, "directories that --out of run, sweep, validate or learning named")
      ->required();
  command->add_option("--out", options->out, "where report.html and figures/ go (default: the first DIR)");
  command->add_option("--format", options->format, "of the figures: some of png,svg,pdf (default: png,svg)");
  command->add_option("--title", options->title, "of the report");
  command->callback([options] { plot(*options); });
}

}  // namespace alchemist
