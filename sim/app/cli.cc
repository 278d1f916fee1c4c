#include "sim/app/cli.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {

int run_command_line(int argc, char** argv, std::initializer_list<AddCommand> more) {
  CLI::App app("Alchemist: which policy for reusing serving's activations gives the most training for the least harm?");
  app.require_subcommand(1);
  app.set_version_flag("--version", "alchemist 0.1.0");
  add_run_command(app);
  for (const AddCommand add : more) add(app);
  add_plot_command(app);
  add_calibrate_command(app);
  add_replay_command(app);
  add_validate_command(app);
  add_list_command(app);
  add_show_command(app);
  add_staleness_command(app);
  add_workload_command(app);
  try {
    for (int i = 1; i < argc; ++i) {
      if (argv[i][0] != '\0') continue;
      throw ConfigError(
          fmt::format("argument {} is empty, behind \"{}\": expected a value (a shell variable that is "
                      "not set?)",
                      i, argv[i - 1]));
    }
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : 1; } catch (const ConfigError& e) {
    std::fprintf(stderr, "alchemist: %s\n", e.what());
    return 1;
  } catch (const InternalError& e) {
    std::fprintf(stderr, "alchemist: internal error: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "alchemist: unexpected error: %s\n", e.what());
    return 2;
  }
}

}  // namespace alchemist
