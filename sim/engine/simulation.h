// The simulated world: requests arrive, replicas serve them, observers watch. One thread; the same input gives the same
// output to the bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/feedback_book.h"
#include "sim/engine/sim_host.h"
#include "sim/engine/step_book.h"
#include "sim/model/step_cost.h"
#include "sim/node/node.h"
#include "sim/node/node_log.h"
#include "sim/node/node_replay.h"
#include "sim/node/router.h"
#include "sim/node/serving_config.h"

namespace alchemist {

// Training beside serving, or on replicas of its own.
struct TrainingSetup {
  std::function<Policy()> make_policy;  // one for each replica, since decisions may have state
  FeedbackConfig feedback;
  StoreConfig store;
  TrainerConfig trainer;  // its number of replicas is the simulation's to set
  LinkSpec link;
  Duration step_host_time;             // StepCost::host_time, for the nodes to know
  std::optional<BesideCosts> beside;   // training has SMs of its own on every serving GPU
  const TrainingCost* cost = nullptr;  // these two outlive the simulation
  const Estimator* estimator = nullptr;
  Bytes static_bytes;                  // of each GPU that trains: gradients, optimizer, workspace
  std::int32_t separate_replicas = 0;  // that only train; 0: every serving replica trains too
  std::int32_t separate_pages = 0;     // memory of each of these, in pages of the store
  bool clairvoyant = false;            // nodes are told which feedback will come
};

// A replica may be several GPUs, which hold equally much and work in step: bytes are those of one of them.
struct SimulationConfig {
  ServingConfig serving;
  std::int32_t kv_blocks = 0;  // of each replica
  Bytes kv_block_bytes;
  Bytes weight_bytes;
  std::int32_t replicas = 1;
  Routing routing = Routing::kLeastLoaded;
  SimHost::Options host;
  std::uint64_t seed = 0;  // of the feedback's random stream
  std::optional<TrainingSetup> training;
  NodeRecorder::Sink record_events;  // if not empty: gets the line of every event and command (sim/node/node_log.h)
};

// Memory of a replica that serves, by category.
MemoryUse memory_use(const SimulationConfig& config, const Node& node);

// The nodes of all replicas, those that only train last.
std::vector<NodeSpec> node_specs(const SimulationConfig& config);

struct SimulationTotals {
  std::int64_t arrived = 0;
  std::int64_t completed = 0;
  std::int64_t rejected = 0;          // prompt and answer together longer than the KV memory or max_model_len
  Time end;                           // of the last event
  std::int64_t feedback_samples = 0;  // whose feedback came before the end
  std::int64_t feedback_tokens = 0;
  std::int64_t feedback_prompt_tokens = 0;  // once a sample, however many answers: what records can hold
  std::int64_t feedback_answer_tokens = 0;  // of them, in answers, which have no record
  StoreTotals store;                        // summed over the replicas
  TrainerTotals trainer;
  Duration busy;  // serving operations, summed over the replicas
  Bytes peak_kv;  // KV blocks in use for serving, of the replica that had most

  // This feedback has come.
  void add(const Feedback& feedback);
};

class Simulation {
 public:
  // `cost`, `workload` and `observer` outlive the simulation.
  Simulation(const SimulationConfig& config, const StepCost& cost, WorkloadSource& workload, RunObserver& observer);

  // Runs until no request is left and none will come. Training that is unfinished then does not count.
  SimulationTotals run();

 private:
  struct Replica {
    std::unique_ptr<SimHost> host;
    std::unique_ptr<NodeRecorder> recorder;  // none: nothing is recorded
    std::unique_ptr<Node> node;
    std::optional<MemoryUse> reported;
    bool joined = false;  // its gradients are complete, those of others are not

    void tell(Time now, const Completion& completion) {
      if (recorder) recorder->event(now, completion);
      node->on_completion(now, completion);
    }
  };

  Time horizon() const;
  void add_replica(const NodeSpec& spec, bool serves);
  void admit_arrival();
  void catch_up(Replica& replica, Time now);
  std::size_t route(const WorkloadRequest& request);
  bool is_over() const;
  void handle_link(Replica& replica, Time now, std::uint32_t version);
  void handle_feedback(Replica& replica, Time now, std::uint32_t sample);
  void handle_piece_end(Replica& replica, ReplicaId id, Time now);
  void handle_all_reduce(Replica& joined, Time now);
  std::int32_t joined_replicas() const;
  void share_work(Time now);
  template <class Tell>
  void tell(Replica& replica, Time now, Tell&& say);
  void await_feedback(const FeedbackBook::Due& due, ReplicaId served_by);
  ReplicaId trainer_of(RequestId request, ReplicaId served_by) const;
  void tell_trained(Replica& replica, Time now);
  void send_weights(Time now);
  void finish();
  void answer(Replica& replica, Time now);
  void handle(const SimEventQueue::Event& event);
  void handle_step_end(Replica& replica, ReplicaId id, Time now);
  void report_memory(Replica& replica, ReplicaId id, Time now);

  SimulationConfig config_;
  const StepCost& cost_;
  WorkloadSource& workload_;
  RunObserver& observer_;
  SimEventQueue queue_;
  std::vector<Replica> replicas_;
  std::vector<const Node*> nodes_;
  Router router_;
  std::int32_t serving_replicas_ = 0;
  std::optional<FeedbackBook> feedback_;  // none: nobody trains
  std::optional<StepBook> steps_;         // likewise
  std::vector<Feedback> samples_;         // whose feedback is on its way
  std::vector<std::uint32_t> free_samples_;
  SimulationTotals totals_;
};

}  // namespace alchemist
