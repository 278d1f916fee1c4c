// The port through which a node acts. The simulator's host prices an operation and lets it end later; the real host
// puts it on a stream. It is written for the weaker, real world: what has started cannot be recalled, the answer to
// everything is an event, and every operation names the memory that it works on. Spans are valid during the call.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "sim/base/batch.h"
#include "sim/base/bytes.h"
#include "sim/base/events.h"
#include "sim/base/observer.h"
#include "sim/base/training_piece.h"
#include "sim/policy/decisions.h"

namespace alchemist {

// Tokens that join a record. A record is one run of bytes over its pages: chunk after chunk as they were computed, of
// each chunk layer after layer.
struct RecordPart {
  RecordId id;
  bool lean = false;               // without gate and up
  std::int32_t first_token = 0;    // of the record; 0: the record is new
  std::span<const BlockId> pages;  // of the whole record, these tokens included
};

// A run of one request's tokens to compute, prompt tokens or, after a preemption, generated ones again.
struct PrefillWork {
  RequestHandle request;
  PrefillChunk chunk;
  std::int32_t target = 0;  // tokens that will have been computed with the last chunk
  bool last = false;        // the request's next token comes at the end of the step, and it decodes from then on
  std::int32_t recorded_tokens = 0;  // the first of them, whose activations are kept instead of overwritten
  Bytes recorded;                    // of these
  std::span<const BlockId> blocks;   // the request's keys and values, in the order of its tokens, this chunk included
  std::optional<RecordPart> record;  // where the activations go
  std::int32_t stale_context = 0;    // of the prefix found in the cache: computed by older weights; for observers
};

// A decoding request's keys and values go on in one more block.
struct GrownTable {
  RequestHandle request;
  BlockId block;
};

// Memory for the activations of a run of a request's answer, which decode computes token by token: as much of a record
// of its own as `tokens` tokens take. The answer may end before the run does.
struct AnswerPart {
  RequestHandle request;
  std::int32_t first_token = 0;  // of the request, its prompt included
  std::int32_t tokens = 0;
  Bytes bytes;
  RecordPart record;
};

// One step over the decode batch and some prefills, or a run of decode steps. The decode batch lives on the host: a
// request joins it with its last prefill and leaves it when it ends or is preempted.
struct ServingOp {
  std::span<const PrefillWork> prefills;
  std::span<const RequestHandle> preempted;  // leave before this step; their blocks are others' from now on
  std::span<const GrownTable> grown;         // before this step, of requests that decode in it
  std::span<const AnswerPart> answers;       // before this step, of requests that decode in it or join behind it
  Bytes recorded_per_step;                   // activations of the tokens decoded in a step that are kept
  Time planned;                              // the host's work on it could begin then; it may be submitted later
  std::int64_t max_steps = 1;                // > 1 only without prefills. The run ends early at the end of a step if a
                                             // request ends or an event waits for the node. Its later steps need no
                                             // further blocks if ServingConfig says that blocks are known ahead
  std::int32_t running = 0;                  // for observers
  std::int32_t waiting = 0;
};

struct CopyOp {
  LinkDirection direction = LinkDirection::kDeviceToHost;
  Bytes bytes;
  std::optional<RecordId> record;  // to the host: the whole record
  std::int32_t layer = 0;          // without a record: of the micro-batch begun last. To the host: the
                                   // activations of its fresh tokens; to the device: those of its tokens on the host,
                                   // fresh ones that were sent there included
  bool keys = false;  // to the device: keys and values alone, to which fresh tokens attend, of the tokens whose record
                      // is on the host
};

// A run of tokens of a training sample whose activations were recorded. Tokens without one are fresh.
struct RecordedTokens {
  std::int32_t sample = 0;       // index into the micro-batch
  std::int32_t first_token = 0;  // of the sample
  std::int32_t tokens = 0;
  RecordId record;
  std::int32_t record_token = 0;  // of the record: its first token here
  bool lean = false;
  bool on_host = false;          // alone; otherwise it is on the device
  std::int32_t version_lag = 0;  // of the record's weights behind those of now
};

// What the training pieces and copies that follow, up to the end of the micro-batch, work on.
struct MicroBatchWork {
  std::span<const Feedback> samples;
  std::int64_t step_targets = 0;  // answer tokens of the whole training step, over which its loss is the mean
  std::span<const RecordedTokens> recorded;  // by sample and position
  std::span<const BlockId> pages;            // working memory for activations that are computed or come back
  std::span<const LayerPlan> restore;        // by layer; empty: nothing lies on the host
  std::int32_t recompute_below = 0;          // tokens on the host: layers below this are recomputed, others reloaded
  FreshActivations fresh = FreshActivations::kKeep;
  // Layers whose fresh activations are on the device at once, those of layer l where those of l + fresh_layers were or
  // will be. With kOffload all layers but the last fresh_layers ones leave.
  std::int32_t fresh_layers = 0;
  // Keys and values of tokens on the host come ahead of the forward of fresh tokens: those of so many layers are on the
  // device at once, of layer l where those of l + key_layers will be. 0: no forward attends to tokens on the host.
  std::int32_t key_layers = 0;
  std::int32_t layers = 0;  // that it goes through, from layer 0: all of the model's, unless it resumes
  // It was begun before and gave its memory back when its backward had come down to layer `layers`. The layers below
  // are run forward again; backward goes on with the gradient that it had come to.
  bool resumes = false;
};

// What became of a sample, for observers.
struct TrainedSample {
  RequestId request;
  std::optional<std::int32_t> version_lag;  // of the oldest record that it used when it last began; none: of none
};

class Host {
 public:
  virtual ~Host() = default;
  // Starts when the operation submitted before it has ended, with the decode batch as it is then. At most one operation
  // may wait behind the one in progress, and only after that one's last step was reported to have begun. Answered by
  // Completions, the last of which has done = true.
  virtual OpId submit(const ServingOp& op) = 0;
  // Runs after everything submitted before it, or beside it if the piece says so. Answered by one Completion.
  virtual OpId submit(const TrainingPiece& piece) = 0;
  // Runs on the link, beside everything else; what has started cannot be recalled. Answered by one Completion.
  virtual OpId submit(const CopyOp& copy) = 0;
  // The gradients of this replica's training step are complete. Answered by one Completion when those of all replicas
  // are; summing them is part of the optimizer's pieces, which follow.
  virtual OpId all_reduce() = 0;
  // Pieces and copies of another micro-batch follow, after the end of the one before. Nothing comes back.
  virtual void begin(const MicroBatchWork& work) = 0;
  // The micro-batch is over, or has given its memory back and will begin again; none of its pieces and copies is under
  // way. What it had on the host is others' from now on. Nothing comes back.
  virtual void end_micro_batch() = 0;
  // The record is gone, with its copy on the host if there is one. Nothing comes back.
  virtual void forget(RecordId record) = 0;
  // A training step is over; these samples were its batch. Nothing comes back.
  virtual void report(const TrainingStep& step, std::span<const TrainedSample> samples) = 0;
  // Answered by one wake event, after all other events of the same time. `when` is not in the past.
  virtual void wake_at(Time when) = 0;
};

}  // namespace alchemist
