#include "sim/app/cli.h"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#include "sim/base/check.h"
#include "sim/base/control_characters.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

[[noreturn]] void fail_output(int error) {
  throw OutputError(std::string("cannot write to standard output") +
                    (error != 0 ? std::string(": ") + std::strerror(error) : std::string()));
}

// What was printed may still be on its way: a full disk is noticed here at the latest. The cause of an earlier failure
// is not known any more.
void finish_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail_output(errno);
}

// Messages quote what stands in files, and a terminal would obey its control characters.
void print_error(const char* kind, std::string_view message) {
  std::string text;
  for (std::size_t i = 0; i < message.size();) {
    std::size_t escaped = message[i] == '\n' ? 0 : control_character(message, i);
    if (escaped == 0) text += message[i++];
    for (; escaped > 0; --escaped) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(message[i++]));
  }
  std::fprintf(stderr, "alchemist: %s%s\n", kind, text.c_str());
}

// Returns the exit status.
int parse_and_run(CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] != '\0') continue;
    throw ConfigError(
        fmt::format("argument {} is empty, behind \"{}\": expected a value (a shell variable that is "
                    "not set?)",
                    i, argv[i - 1]));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : 1; } catch (const std::system_error& e) {
    if (std::ferror(stdout) != 0) fail_output(e.code().value());  // fmt's
    throw;
  }
  return 0;
}

}  // namespace

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
  add_learning_command(app);
  add_workload_command(app);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow (ulimit -f) is an error of writing, not the end
  try {
    const int status = parse_and_run(app, argc, argv);
    finish_output();
    return status;
  } catch (const ConfigError& e) {
    print_error("", e.what());
    return 1;
  } catch (const std::bad_alloc&) {
    print_error("", "out of memory: expected more of it, or fewer requests, replicas or KV blocks");
    return 1;
  } catch (const InternalError& e) {
    print_error("internal error: ", e.what());
    return 2;
  } catch (const std::exception& e) {
    print_error("unexpected error: ", e.what());
    return 2;
  }
}

}  // namespace alchemist
