#include "sim/app/event_log.h"

#include <fmt/format.h>

#include <sstream>

#include "sim/app/experiment_world.h"
#include "sim/app/yaml_reader.h"
#include "sim/base/line_reader.h"

namespace alchemist {
namespace {

constexpr std::string_view kMagic = "alchemist-node-log";

std::filesystem::path folder_of(const std::filesystem::path& file) {
  const std::filesystem::path parent = file.parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

EventLogWriter::EventLogWriter(const std::filesystem::path& file, const Experiment& experiment)
    : directory_(folder_of(file)), file_(directory_.create(file.filename().string())) {
  file_.write(fmt::format("{} {}\n", kMagic, kNodeLogVersion));
  std::istringstream yaml(emit_experiment(experiment));
  for (std::string line; std::getline(yaml, line);) file_.write("# " + line + "\n");
}

NodeRecorder::Sink EventLogWriter::sink() {
  return [this](std::string_view line) {
    file_.write(line);
    file_.write("\n");
  };
}

void EventLogWriter::commit() { directory_.commit(); }

ReplayTotals replay_event_log(const std::string& file) {
  LineReader log(file);
  const std::string expected = fmt::format("{} {}", kMagic, kNodeLogVersion);
  if (!log.next() || log.text() != expected) log.fail("expected \"" + expected + "\" as the first line");
  std::string yaml;
  bool more = log.next();
  for (; more && log.text().starts_with("# "); more = log.next()) yaml += log.text().substr(2) + "\n";
  if (!more) log.fail("has no events");
  const ExperimentWorld world(read_experiment(YamlValue::parse(yaml, file)));
  return replay_nodes(log, node_specs(world.config()));
}

}  // namespace alchemist
