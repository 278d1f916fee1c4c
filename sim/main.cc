#include "sim/app/cli.h"

int main(int argc, char** argv) { return alchemist::run_command_line(argc, argv); }
