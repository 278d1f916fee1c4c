#include "sim/app/experiment_options.h"

#include "sim/app/option_checks.h"

namespace alchemist {

void add_experiment_options(CLI::App& command, ExperimentOptions& options) {
  command.add_option("EXPERIMENT", options.name, "a built-in name (see `alchemist list`) or a YAML file")->required();
  command.add_option("--trace", options.overrides.trace, "replay this trace file in place of the workload");
  command.add_option("--policy", options.overrides.policy, "a built-in policy or a YAML file");
  command.add_option("--set", options.overrides.sets, "KEY.PATH=VALUE: change one key; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--seed", options.overrides.seed, "seed of every random stream")->check(whole_number(0));
}

}  // namespace alchemist
