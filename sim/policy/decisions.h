// The five small decisions that make a policy. Each sees a plain view of the present and returns a small value; none
// acts by itself, and none knows the future but those that say so (clairvoyant()), which are told of feedback to come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "sim/base/bytes.h"
#include "sim/base/time.h"
#include "sim/policy/feedback_model.h"
#include "sim/policy/restore_plan.h"

namespace alchemist {

// 1. Record: which tensors of a request's prompt to keep while prefill computes them.
enum class RecordChoice : std::uint8_t { kNothing, kLean, kMinimal };

struct RecordView {
  std::int64_t tokens = 0;  // of the prompt that prefill will compute
  Bytes lean_bytes;         // of these tokens
  Bytes minimal_bytes;
  double lean_saving = 1;     // share of the forward's time that a lean record saves; a minimal one saves all
  Bytes capacity;             // of all records together
  Bytes free;                 // of it
  double whole_per_s = 0;     // tokens of late that could have been recorded, of prompts with the property below
  bool whole = false;         // with this record, nearly all of the prompt will have one
  double kept_share = 1;      // of the tokens of late that were to be recorded, those that found room on the GPU
  double trained_per_s = 0;   // tokens of late that were trained, recorded or not
  double queued_s = 0;        // from the feedback until its sample was trained, of late
  double copy_bandwidth = 0;  // bytes/s to where records are kept in the end
  double used_share = 1;  // of late, of the layers of tokens that came to training with a record, those not recomputed
  double copied_share = 0;                  // of the bytes recorded so far, those that were copied there
  double copy_costs = 0;                    // share of the GPU that is lost while a copy is under way
  std::int32_t decoding = 0;                // requests
  double forward_s = 0;                     // of the GPU, for each token that training runs forward
  double step_s = 0;                        // that recording adds to a decode step, however many tokens it records
  const FeedbackModel* feedback = nullptr;  // never null
  // Told to a clairvoyant policy alone: whether feedback will come, and how long after the answer.
  bool foresees = false;
  std::optional<Duration> needed_in;
};

class RecordDecision {
 public:
  virtual ~RecordDecision() = default;
  virtual RecordChoice choose(const RecordView& view) = 0;
  // Of the prompt chosen last: if its answer is worth memory too. Asked of policies that record answers.
  virtual bool answer_too() const { return true; }
  // Has to be told what feedback will come.
  virtual bool clairvoyant() const { return false; }
};

// 2. Place: where a complete record lives.
enum class PlaceChoice : std::uint8_t { kStay, kCopyNow };

struct PlaceView {
  double link_backlog_s = 0;
  bool missed = false;  // records have memory that the prefix cache would make noticeable use of
  Bytes room;           // what records may take of the GPU beyond those there, and beyond what those being made need
};

class PlaceDecision {
 public:
  virtual ~PlaceDecision() = default;
  // A record has just been completed on the GPU.
  virtual PlaceChoice on_recorded(const PlaceView& view) = 0;
  // Its copy to the host is complete: true to keep the one on the GPU too, until memory is short.
  virtual bool keep_after_copy(const PlaceView& view) = 0;
  // True if records may live in host memory.
  virtual bool uses_host() const = 0;
  // Memory is short and the record has no host copy: true to copy it out (its memory comes free when the copy is done),
  // false to drop it.
  virtual bool copy_out_under_pressure(const PlaceView& view) = 0;
};

// 3. Evict: whom, when memory is short. The record with the least value goes first.
struct EvictView {
  Duration age;  // since it was recorded
  bool feedback_came = false;
  bool passed_over = false;           // feedback came, but a training step has taken others, which later ones will too
  std::optional<Duration> needed_in;  // until its feedback comes; told to a clairvoyant policy alone
};

class EvictDecision {
 public:
  virtual ~EvictDecision() = default;
  virtual double value(const EvictView& view) = 0;
  virtual bool clairvoyant() const { return false; }  // as above
};

// 4. Restore: where the activations of a micro-batch come from, layer by layer (sim/policy/restore_plan.h).
class RestoreDecision {
 public:
  virtual ~RestoreDecision() = default;
  // `outlook`: the micro-batch as it may go, one as likely as the other, for how much of the GPU serving takes
  // meanwhile is not known. Only times differ. Not empty.
  virtual RestorePlan choose(std::span<const RestoreProblem> outlook) = 0;
};

// 5. Train: when to start a step and when a piece may run before the next serving step.
struct TrainStartView {
  std::int64_t ready_tokens = 0;
  std::int64_t batch_tokens = 0;
};

struct TrainPieceView {
  bool serving_idle = false;  // no request is running or waiting
  bool prompt_waits = false;  // a request waits or computes its prompt
  Duration decode_step;       // the latest serving step that computed no prompt; zero: there was none
  Duration tail_step;         // the length that only a small share of recent serving steps exceeds; zero: not known yet
  Duration saved;             // of the share of decode's time that training may take, not used yet
  std::optional<Duration> max_itl;  // longest gap between two tokens that it may cause, in place of both of these
  Duration gap_used;                // by training since the latest step
  double tokens_used = 0;           // that training took through all layers since then; a piece counts for its layer
  std::int32_t running = 0;         // requests
  std::int32_t token_budget = 0;    // of a serving step
};

// How much training may run before the next serving step: whatever is less of both.
struct TrainAllowance {
  Duration time;  // zero: nothing now
  std::int64_t tokens = 0;
  bool smallest_part = false;  // the smallest part that is worth a launch may take longer
  Duration cut_from;           // a piece that takes longer than allowed is cut only where this much time is allowed
};

class TrainDecision {
 public:
  virtual ~TrainDecision() = default;
  virtual bool start_step(const TrainStartView& view) = 0;
  virtual TrainAllowance allow(const TrainPieceView& view) = 0;
  // Pieces run on a share of the SMs while serving has the rest; otherwise the two take turns.
  virtual bool beside_serving() const { return false; }
  // Makes no gap between two tokens longer than max_itl says; others take no heed of it.
  virtual bool heeds_max_itl() const { return false; }
};

// What becomes of the activations of tokens that have no record.
enum class FreshActivations : std::uint8_t {
  kKeep,        // forward keeps all that backward needs
  kCheckpoint,  // forward keeps each layer's input; backward runs the layer forward again
  kOffload,     // forward sends what backward needs to the host, backward gets it back
  kSpill,       // the first of these where serving does not miss the memory or the link is too slow, else the third
};

// Which samples a training step takes first when more are ready than it holds.
enum class SampleOrder : std::uint8_t {
  kOldest,    // first come, first trained
  kRecorded,  // those of whose forward usable records save the largest share; of equal ones the latest
};

// What a policy tells the node beside its decisions: the keys of a policy's file of the same names, with their
// defaults.
struct PolicyParameters {
  Duration keep_for = Duration::max();  // records without feedback after this time are dropped
  FreshActivations fresh = FreshActivations::kKeep;
  SampleOrder samples = SampleOrder::kOldest;
  // How much training that hides may lengthen serving: the share of decode's time that it takes (headroom), and the
  // share of more prompts that are computed because memory is not the prefix cache's.
  double stretch = 0.03;
  bool record_answers = false;  // decode keeps what prefill does, where the record decision has it
};

// A policy: one of each decision, and these.
struct Policy : PolicyParameters {
  std::unique_ptr<RecordDecision> record;  // each may be null: nothing is recorded, ...
  std::unique_ptr<PlaceDecision> place;
  std::unique_ptr<EvictDecision> evict;
  std::unique_ptr<RestoreDecision> restore;
  std::unique_ptr<TrainDecision> train;
};

}  // namespace alchemist
