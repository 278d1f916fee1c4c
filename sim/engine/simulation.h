// The simulated world: requests arrive, replicas serve them, observers watch. One thread; the same input gives the same
// output to the bit.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/sim_host.h"
#include "sim/model/step_cost.h"
#include "sim/node/node.h"
#include "sim/node/router.h"
#include "sim/node/serving_config.h"

namespace alchemist {

struct SimulationConfig {
  ServingConfig serving;
  std::int32_t kv_blocks = 0;  // of each replica
  Bytes kv_block_bytes;
  Bytes weight_bytes;  // of each replica
  std::int32_t replicas = 1;
  Routing routing = Routing::kLeastLoaded;
  SimHost::Options host;
};

struct SimulationTotals {
  std::int64_t arrived = 0;
  std::int64_t completed = 0;
  std::int64_t rejected = 0;  // prompt and answer together longer than the KV memory or max_model_len
  Time end;                   // of the last event
  Duration busy;              // serving operations, summed over the replicas
};

class Simulation {
 public:
  // `cost`, `workload` and `observer` outlive the simulation.
  Simulation(const SimulationConfig& config, const StepCost& cost, WorkloadSource& workload, RunObserver& observer);

  // Runs until no request is left and none will come.
  SimulationTotals run();

 private:
  struct Replica {
    std::unique_ptr<SimHost> host;
    std::unique_ptr<Node> node;
  };

  Time horizon() const;
  void admit_arrival();
  void answer(Replica& replica, Time now);
  void handle(const SimEventQueue::Event& event);
  void handle_step_end(Replica& replica, ReplicaId id, Time now);
  void report_memory(const Replica& replica, ReplicaId id, Time now);

  SimulationConfig config_;
  WorkloadSource& workload_;
  RunObserver& observer_;
  SimEventQueue queue_;
  std::vector<Replica> replicas_;
  std::vector<const Node*> nodes_;
  Router router_;
  SimulationTotals totals_;
};

}  // namespace alchemist
