// The file of a recorded run: what it takes to make the nodes again, and then their events and commands.
//
//   alchemist-node-log VERSION WORLD    simulated, or real: there nodes know the blocks of a run ahead
//   # the resolved experiment, a line of YAML behind each "# "
//   lines of sim/node/node_log.h
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "sim/app/experiment.h"
#include "sim/app/experiment_world.h"
#include "sim/node/node_log.h"
#include "sim/node/node_replay.h"
#include "sim/report/output_file.h"

namespace alchemist {

// Writes FILE.partial, which gets its name at the commit; without one nothing is left. ConfigError where it cannot be
// written.
class EventLogWriter {
 public:
  EventLogWriter(const std::filesystem::path& file, const Experiment& experiment, World world = World::kSimulated);
  // Valid as long as the writer.
  NodeRecorder::Sink sink();
  void commit();
  // Commits what `run` has recorded, also where it throws, which it then does: the log of a run that failed half-way
  // says so at its end, and stderr says where it lies. Nothing is left of one that failed before its first event, or in
  // simulation by the user's mistake.
  void commit_after(const std::function<void()>& run);

 private:
  void commit_failed();

  std::filesystem::path path_;
  World world_;
  ResultDirectory directory_;
  OutputFile& file_;
  std::int64_t events_ = 0, commands_ = 0;
};

// Feeds the log to fresh nodes. ConfigError (FILE:LINE) if it is no log of this version or cannot be read, for the
// first command that is not the recorded one, for an event that fails a check of a fresh node, and, after all the
// others, if the log is incomplete.
ReplayTotals replay_event_log(const std::string& file);

}  // namespace alchemist
