// alchemist replay FILE: a recorded run, fed again to fresh nodes.
#include <fmt/format.h>

#include <memory>

#include "sim/app/cli.h"
#include "sim/app/event_log.h"

namespace alchemist {

void add_replay_command(CLI::App& app) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "replay", "Feed the events of a recorded run to fresh nodes and compare their commands byte for byte");
  command->add_option("FILE", *file, "written by `run --record-events` or by `validate --device`")->required();
  command->callback([file] {
    const ReplayTotals totals = replay_event_log(*file);
    fmt::print("{} events, {} commands: all equal\n", totals.events, totals.commands);
  });
}

}  // namespace alchemist
