// The Python programs that draw figures: the folder tools, which lies beside the built-in configurations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace alchemist {

// A Python that can import these modules (separated by ", "): the system's, which has the distribution's packages,
// else the first on PATH. ConfigError, which says what `command` misses, if there is none.
std::string find_python(const std::string& command, const std::string& modules);

// A file or folder of tools. ConfigError if it is not there.
std::filesystem::path find_tool(const std::string& name);

enum class Output { shown, discarded };

// Runs a program (words[0]: its path) and waits. True if it ended with status 0; false also if it could not be started.
bool run_program(std::vector<std::string> words, Output output);

// The program takes this process's place, so that its exit status is ours. ConfigError if it cannot be started.
[[noreturn]] void become_program(std::vector<std::string> words);

}  // namespace alchemist
