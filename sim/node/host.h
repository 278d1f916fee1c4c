// The port through which a node acts. The simulator's host prices an operation and lets it end later; the real host
// puts it on a stream. It is written for the weaker, real world: what has started cannot be recalled, and the answer to
// everything is an event.
#pragma once

#include <cstdint>
#include <span>

#include "sim/base/batch.h"
#include "sim/base/bytes.h"
#include "sim/base/events.h"
#include "sim/base/observer.h"
#include "sim/base/training_piece.h"

namespace alchemist {

// A run of one request's tokens to compute, prompt tokens or, after a preemption, generated ones again.
struct PrefillWork {
  RequestHandle request;
  PrefillChunk chunk;
  std::int32_t target = 0;  // tokens that will have been computed with the last chunk
  bool last = false;        // the request's next token comes at the end of the step, and it decodes from then on
  Bytes recorded;           // activations of these tokens that are kept instead of overwritten
};

// One step over the decode batch and some prefills, or a run of decode steps. The decode batch lives on the host: a
// request joins it with its last prefill and leaves it when it ends or is preempted.
struct ServingOp {
  std::span<const PrefillWork> prefills;     // valid during submit()
  std::span<const RequestHandle> preempted;  // leave before this step; valid during submit()
  std::int64_t max_steps = 1;                // > 1 only without prefills. The run ends early at the end of a step if a
                                             // request ends or an event waits for the node
  std::int32_t running = 0;                  // for observers
  std::int32_t waiting = 0;
};

struct CopyOp {
  LinkDirection direction = LinkDirection::kDeviceToHost;
  Bytes bytes;
};

// What became of a sample, for observers.
struct TrainedSample {
  RequestId request;
  std::int32_t version_lag = 0;
};

class Host {
 public:
  virtual ~Host() = default;
  // Starts when the operation submitted before it has ended, with the decode batch as it is then. At most one operation
  // may wait behind the one in progress, and only after that one's last step was reported to have begun. Answered by
  // Completions, the last of which has done = true.
  virtual OpId submit(const ServingOp& op) = 0;
  // Runs after everything submitted before it. Answered by one Completion.
  virtual OpId submit(const TrainingPiece& piece) = 0;
  // Runs on the link, beside everything else; what has started cannot be recalled. Answered by one Completion.
  virtual OpId submit(const CopyOp& copy) = 0;
  // A training step is over; these samples were its batch. Nothing comes back.
  virtual void report(const TrainingStep& step, std::span<const TrainedSample> samples) = 0;
  // Answered by one wake event, after all other events of the same time. `when` is not in the past.
  virtual void wake_at(Time when) = 0;
};

}  // namespace alchemist
