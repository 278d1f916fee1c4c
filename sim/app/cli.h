// The command line. Each command lives in a file of its own (FOO_command.cc) and adds itself to the parser here.
#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>

namespace alchemist {

using AddCommand = void (*)(CLI::App& app);

// Parses and runs. `more` are the commands of folders that this one does not know. Returns the exit status: 0 done,
// 1 the user's mistake, 2 ours.
int run_command_line(int argc, char** argv, std::initializer_list<AddCommand> more = {});

// Each adds its subcommand with options, help and a callback that does the work.
void add_run_command(CLI::App& app);
void add_list_command(CLI::App& app);
void add_show_command(CLI::App& app);
void add_staleness_command(CLI::App& app);
void add_learning_command(CLI::App& app);
void add_plot_command(CLI::App& app);
void add_calibrate_command(CLI::App& app);
void add_replay_command(CLI::App& app);
void add_validate_command(CLI::App& app);
void add_workload_command(CLI::App& app);

}  // namespace alchemist
