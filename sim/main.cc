#include "sim/app/cli.h"
#include "sim/sweep/sweep_command.h"

int main(int argc, char** argv) { return alchemist::run_command_line(argc, argv, {alchemist::add_sweep_command}); }
