#include "sim/app/event_log.h"

#include <fmt/format.h>

#include <sstream>

#include "sim/app/yaml_reader.h"
#include "sim/base/error.h"
#include "sim/base/line_reader.h"

namespace alchemist {
namespace {

constexpr std::string_view kMagic = "alchemist-node-log";

std::string first_line(World world) {
  return fmt::format("{} {} {}", kMagic, kNodeLogVersion, world == World::kReal ? "real" : "simulated");
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  const std::filesystem::path parent = file.parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

EventLogWriter::EventLogWriter(const std::filesystem::path& file, const Experiment& experiment, World world)
    : path_(file), world_(world), directory_(folder_of(file)), file_(directory_.create(file.filename().string())) {
  file_.write(first_line(world) + "\n");
  std::istringstream yaml(emit_experiment(experiment));
  for (std::string line; std::getline(yaml, line);) file_.write("# " + line + "\n");
}

NodeRecorder::Sink EventLogWriter::sink() {
  return [this](std::string_view line) {
    ++(is_command_line(line) ? commands_ : events_);
    file_.write(line);
    file_.write("\n");
  };
}

void EventLogWriter::commit() {
  file_.write(end_text(events_, commands_) + "\n");
  directory_.commit();
}

void EventLogWriter::commit_after(const std::function<void()>& run) {
  try {
    run();
  } catch (const ConfigError&) {
    if (world_ == World::kReal) commit_failed();  // what a device did cannot be had again
    throw;
  } catch (...) {
    commit_failed();
    throw;
  }
  commit();
}

void EventLogWriter::commit_failed() {
  if (events_ == 0) return;
  file_.write(fmt::format("{}\n", kFailedText));
  directory_.commit();
  fmt::print(stderr, "alchemist: the run failed; its events up to then are in {}\n", path_.string());
}

ReplayTotals replay_event_log(const std::string& file) {
  LineReader log(file);
  const std::string simulated = first_line(World::kSimulated), real = first_line(World::kReal);
  if (!log.next() || (log.text() != simulated && log.text() != real)) {
    log.fail(fmt::format("expected \"{}\" or \"{}\" as the first line", simulated, real));
  }
  const World recorded_in = log.text() == real ? World::kReal : World::kSimulated;
  std::string yaml;
  bool more = log.next();
  for (; more && log.text().starts_with("# "); more = log.next()) yaml += log.text().substr(2) + "\n";
  if (!more) log.fail("has no events");
  const ExperimentWorld world(read_experiment(YamlValue::parse(yaml, file)), recorded_in);
  return replay_nodes(log, node_specs(world.config()), LogEnd::kMarked);
}

}  // namespace alchemist
