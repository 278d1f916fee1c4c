// Training on one replica: gathers samples whose feedback has come, restores their activations, and runs forward,
// backward and optimizer in pieces of one layer. The node decides when a piece may run; the trainer says which is next.
//
// Replicas train data-parallel and step together: each gathers a batch of its own, and none updates its weights before
// the gradients of all are complete. Where one waits and another has not begun, that one begins at once with what
// feedback it has, or takes part without gradients if it has none. Where one waits and another has micro-batches that
// it has not begun, the last of these goes back to that one's feedback, and the one that waits trains as much of its
// own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <vector>

#include "sim/base/events.h"
#include "sim/node/activation_store.h"
#include "sim/node/block_pool.h"
#include "sim/node/host.h"
#include "sim/node/layer_traffic.h"
#include "sim/node/micro_batch.h"
#include "sim/node/piece_part.h"
#include "sim/node/sample_queue.h"
#include "sim/node/training_config.h"
#include "sim/node/training_pace.h"
#include "sim/policy/decisions.h"
#include "sim/policy/estimator.h"

namespace alchemist {

struct TrainerConfig {
  TrainingConfig training;
  std::int32_t replicas = 1;  // that train together
  std::int32_t layers = 0;
  std::int64_t micro_batch_tokens = 2048;
  std::int64_t token_tile = 1;  // parts of pieces are multiples of it
  std::int64_t trained_parameters = 0;
  std::int32_t kept_versions = 0;  // of the weights, before those of now, which what is recorded may be run under
  Bytes page_bytes;
  TokenBytes bytes;
  // One layer's backward works on so much for each token; that of `reserved_tokens` tokens is set aside for good.
  Bytes working_per_token;
  std::int64_t reserved_tokens = 0;
  // Layers whose activations may be on the GPU at once, of those that come from the host or go there; fewer where
  // serving would miss the memory.
  std::int32_t window_layers = 16;
  double gpu_share = 1;  // of the GPU that a piece takes while it runs
};

struct TrainerTotals {
  std::int64_t samples = 0;
  std::int64_t queued_samples = 0;  // whose feedback came but which were not trained when the run ended
  std::int64_t queued_tokens = 0;   // of these
  std::int64_t too_long = 0;        // samples refused because their activations would not fit an empty memory
  std::int64_t preemptions = 0;     // micro-batches that gave their memory back to serving
};

class Trainer {
 public:
  // All references outlive the trainer.
  Trainer(const TrainerConfig& config, BlockPool& pool, ActivationStore& store, Policy& policy,
          const Estimator& estimator, Host& host);

  void on_feedback(Time now, const Feedback& feedback);
  // The piece that could run now: the rest of one layer, as a whole. None if there is no batch, or if it waits for a
  // copy or for memory. Starts a training step if the policy wants one. The caller runs it or a part of it, or asks
  // again. `alone`: serving has nothing to do. `short_of_memory`: it waits for blocks, so that no micro-batch may take
  // any.
  std::optional<TrainingPiece> next_piece(Time now, bool alone, bool short_of_memory = false);
  // As much of such a piece as keeps to the allowance (piece_part.h).
  std::optional<PricedPiece> part_within(const TrainingPiece& piece, const TrainAllowance& allowance) const;
  void on_piece_submitted();
  void on_piece_done(Time now, const TrainingPiece& piece, Duration ran);
  // True if the completion answers a copy of this trainer.
  bool on_copy_done(Time now, OpId op);
  // Another replica waits for this one's gradients.
  void on_awaited() { awaited_ = true; }
  // Micro-batches of the step that have not been begun, behind the one that is being worked on.
  std::int64_t micro_batches_to_begin() const { return std::max<std::int64_t>(0, std::ssize(micro_batches_) - 1); }
  // Gives the last of them back and returns its tokens. Precondition: there is one.
  std::int64_t hand_over();
  // Trains about so many tokens more before the step ends, of the feedback that is ready. Precondition: it waits for
  // other replicas.
  void take_over(Time now, std::int64_t tokens);
  std::int64_t ready_samples() const { return ready_.samples(); }
  // True if the completion answers this trainer's all-reduce.
  bool on_all_reduced(Time now, OpId op);
  // The GPU had nothing else to do since `since` and the trainer was waiting for activations.
  void count_stall(Duration stall) { step_.restore_stall += stall; }
  bool waits_for_copy() const;
  // Serving lacks `blocks`, and records do not give them: the micro-batch gives its memory back, at once or, while
  // copies into it are under way or a layer is half through its backward, as soon as these are done. It begins again
  // when there is memory: with its forward, or, where its backward has begun, with the forward of the layers that are
  // left of it.
  void give_way(std::int32_t blocks);
  // It waits for the end of a layer's backward; nothing else brings the memory back.
  bool gives_way() const { return giving_way_; }

  WeightVersion version() const { return version_; }
  Bytes gpu_bytes() const { return config_.page_bytes * static_cast<std::int64_t>(pages_.size()); }
  TrainerTotals totals() const;

 private:
  enum class Phase : std::uint8_t { kReference, kReferenceHead, kForward, kHead, kBackward };

  bool start_step(Time now);
  void gather(Time now, std::int64_t tokens);
  bool prepare(Time now, bool alone, RecordsOnHost on_host);
  bool begin_micro_batch(Time now, bool alone);
  bool link_keeps_up(double times) const;
  bool is_missed(std::int32_t pages) const;
  void choose_memory();
  bool could_do_with_less(Time now);
  bool take_memory(Time now, bool alone);
  void keep_pages(std::int32_t most);
  void end_on_host();
  void tell_host();
  Bytes window_bytes(std::int64_t tokens) const;
  Bytes key_bytes(std::int64_t tokens) const;
  std::int32_t most_key_layers() const;
  std::int32_t key_layers() const;
  Bytes fresh_bytes(std::int64_t tokens) const;
  Bytes fresh_host_bytes(std::int64_t tokens) const;
  std::int32_t pages_needed() const;
  TrainingPiece make_piece() const;
  TrainingPiece rest_of(TrainingPiece whole) const;
  double keys_of(const TrainingPiece& piece) const;
  std::int64_t size_of_phase() const;
  void enter_first_phase();
  void enter_first_own_phase();
  void enter_phase_behind_forward();
  void enter_backward();
  std::int32_t layers_to_go() const;
  std::int32_t layers_to_forward() const;
  bool may_stop() const;
  void stop_if_possible();
  double redundant_share(const TrainingPiece& piece) const;
  bool ready_to_run() const;
  void advance(Time now);
  void end_micro_batch(Time now);
  void join_all_reduce(Time now);
  void end_step(Time now);

  TrainerConfig config_;
  std::int64_t most_tokens_ = 0;  // of a micro-batch that fits the memory
  BlockPool& pool_;
  ActivationStore& store_;
  Policy& policy_;
  const Estimator& estimator_;
  Host& host_;

  SampleQueue ready_;
  WeightVersion version_;
  TrainerTotals totals_;

  bool in_step_ = false;
  std::deque<MicroBatch> micro_batches_;  // of the step, the first is being worked on
  bool micro_batch_begun_ = false;
  Phase phase_ = Phase::kForward;
  std::int32_t layer_ = 0;
  std::int64_t done_ = 0;  // of this phase and layer: tokens, or parameters of the optimizer
  bool piece_outstanding_ = false;
  bool awaited_ = false;            // by another replica, since this one last joined
  std::optional<OpId> all_reduce_;  // outstanding
  Time joined_;
  std::vector<BlockId> pages_;  // working memory of the micro-batch
  bool giving_way_ = false;
  bool at_new_layer_ = false;  // a piece has ended its layer
  std::int32_t spare_ = 0;     // pages that a micro-batch leaves to serving when it begins
  bool offloads_ = false;      // fresh activations of the micro-batch go to the host and come back
  std::int32_t window_;        // layers of the micro-batch that are on the GPU at once, of those that come or go
  Bytes host_bytes_;           // taken for fresh activations of the micro-batch
  LayerTraffic traffic_;
  TrainingPace pace_;
  TrainingStep step_;
  std::int64_t step_targets_ = 0;
  std::vector<TrainedSample> trained_;
};

}  // namespace alchemist
