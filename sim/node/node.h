// One replica's brain: a deterministic function of the stamped events it is given. It has no clock and acts only
// through its Host, so the same node drives a simulated GPU and a real one.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "sim/base/events.h"
#include "sim/node/activation_store.h"
#include "sim/node/host.h"
#include "sim/node/scheduler.h"
#include "sim/node/tail_estimate.h"
#include "sim/node/trainer.h"

namespace alchemist {

// What a node needs to train; without it, it only serves.
struct NodeTraining {
  StoreConfig store;
  TrainerConfig trainer;
  Policy policy;                         // of its own: decisions may have state
  const Estimator* estimator = nullptr;  // outlives the node
  Duration step_host_time;               // from the planning of a serving step to its start, if nothing hides it
};

class Node final : private BlockLender {
 public:
  // `host` outlives the node.
  Node(const ServingConfig& config, std::int32_t kv_blocks, Host& host, std::optional<NodeTraining> training = {});

  void on_arrival(Time now, const Arrival& arrival);
  void on_feedback(Time now, const Feedback& feedback);
  void on_completion(Time now, const Completion& completion);
  void on_wake(Time now);
  // Serving runs with other weights from the next step on. For a node that only serves: others know it by themselves.
  void on_new_weights(Time now);
  // The gradients of another replica are complete: it waits for those of this one (Host::all_reduce).
  void on_all_reduce(Time now);
  // It waits for a replica that has more left to do: Trainer::hand_over and take_over.
  std::int64_t on_hand_over(Time now);
  void on_take_over(Time now, std::int64_t tokens);

  // The operation `op` has begun its `steps`-th step; brings the scheduler up to date before a router looks at it
  // or its weights change.
  void catch_up(OpId op, std::int64_t steps);

  const Scheduler& scheduler() const { return scheduler_; }
  const ActivationStore* store() const { return store_.get(); }
  const Trainer* trainer() const { return trainer_.get(); }

 private:
  // What the node knows of a request while it is being served.
  struct Served {
    Arrival arrival;
    std::optional<RecordId> record;  // of its prompt, that takes more of it
    bool record_is_full = false;     // with the chunk that is submitted next
    bool record_decided = false;     // since the request was last admitted
    bool is_recorded = false;        // if so: as far as there is memory
    bool answer_too = false;
    bool lean = false;  // what is recorded
    bool answer_is_recorded = false;
    // The part of the answer that is being recorded.
    struct OpenAnswer {
      RecordId record;
      std::int32_t first_token = 0;
      std::int32_t end_token = 0;
      Bytes per_token;
    };
    std::optional<OpenAnswer> open;
  };

  struct Outstanding {
    OpId op;
    bool computes_prompt;
  };

  void reclaim(std::int32_t blocks, bool urgent) override;
  void on_serving(std::vector<Outstanding>::iterator op, const Completion& completion);
  void on_piece(const Completion& completion);
  void note_step(const Outstanding& op, const Completion& completion);
  void on_newest(const Completion& completion);
  bool next_step_is_planned() const;
  void wake_soon();
  void on_training_news(Time now);
  void submit_next();
  enum class PieceOutcome : std::uint8_t { kNothingToDo, kServingMayFollow, kMoreMayFollow };
  PieceOutcome decide_on_piece();
  PieceOutcome submit_piece();
  bool trains_beside() const {
    return training_ && training_->policy.train && training_->policy.train->beside_serving();
  }
  void submit_beside();
  bool serving_idle() const;
  bool prompt_waits() const;
  TrainPieceView view_for_training() const;
  void submit_serving(bool training_waits);
  void prepare_serving();
  std::optional<ServingOp> plan_serving(bool training_waits);
  void launch(const ServingOp& op);
  void record(ServingOp& op);
  void record_prompt(PrefillWork& work);
  void record_answer(RequestHandle handle);
  void begin_answer(RequestHandle handle, std::int32_t first_token);
  RecordId close_prompt(RequestHandle request);
  void complete_behind_step(RecordId id);
  RecordId close_answer(RequestHandle handle);
  void end(std::span<const RequestHandle> ended);
  void forget(std::span<const RequestHandle> ended);

  Time now_;
  Scheduler scheduler_;
  Host& host_;
  bool async_;
  std::int32_t token_budget_;
  std::int32_t answer_run_;  // tokens
  // Serving operations submitted and not done, in this order: at most two with asynchronous scheduling, else one.
  std::vector<Outstanding> outstanding_;
  bool newest_in_last_step_ = false;
  bool wake_asked_ = false;

  std::optional<NodeTraining> training_;
  std::unique_ptr<ActivationStore> store_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<Served> served_;         // by handle
  std::vector<PrefillWork> prefills_;  // of the operation being submitted
  std::vector<AnswerPart> answers_;    // of it
  // The next serving operation, planned while pieces of training go ahead of it, and what it points to.
  std::optional<ServingOp> prepared_;
  std::vector<RequestHandle> preempted_;
  std::vector<GrownTable> grown_;
  // Of requests whose record takes more tokens, in the order in which these were begun.
  std::vector<RequestHandle> open_prompts_, open_answers_;
  Bytes recorded_per_step_;                              // of these
  std::vector<std::pair<OpId, RecordId>> completing_;    // records that end with an outstanding operation
  std::optional<std::pair<OpId, TrainingPiece>> piece_;  // outstanding
  std::optional<Time> stalled_since_;                    // idle because activations have not come back
  Duration decode_step_;
  Duration saved_;
  bool another_fits_ = false;          // piece of training, into the gap that the outstanding one is in
  bool prepares_ahead_ = false;        // and serving's step has to be planned before that one
  Duration gap_used_;                  // by training since the last serving operation was submitted
  std::int64_t gap_token_layers_ = 0;  // tokens of training since then, each for every layer that it went through
  bool serving_is_stuck_ = false;      // it needs memory that it cannot free itself
  TailEstimate tail_{kTailQuantile};

  // Training hides below the steps that are this rare anyway, so that the 99th percentile does not feel it; half a
  // percent is for the estimate's error. Where prompts make fewer of the steps longer than that, nothing hides but in
  // idle time.
  static constexpr double kTailQuantile = 0.985;
  // An answer is recorded in runs of this many KV blocks, each a record of its own: it may be copied out, used and
  // evicted as soon as it is full, and little is lost where an answer ends early.
  static constexpr std::int32_t kAnswerBlocks = 4;
  // Decode steps while a piece waits that the policy does not want to run now, in one run or several, unless something
  // happens: training gets its share of the time in parts that are worth a launch.
  static constexpr std::int64_t kStepsBetweenDecisions = 8;
  std::int64_t steps_to_decision_ = 0;
};

}  // namespace alchemist
