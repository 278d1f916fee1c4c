// The real device of one replica behind the node's port: kernels on a thread of their own, one for each direction of
// the link, records and working memory in pages of one arena. Operations run one after the other in the order of their
// submission; how long each took is what the clock says.
//
// The thread that owns the host is the one that runs the node. It hands prepared jobs to the workers and learns from
// the inbox that they are over; nothing polls.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/base/observer.h"
#include "sim/base/workload.h"
#include "sim/engine/request_book.h"
#include "sim/engine/step_run.h"
#include "sim/node/host.h"
#include "validate/busy_time.h"
#include "validate/decoder.h"
#include "validate/device_array.h"
#include "validate/inbox.h"
#include "validate/kept_weights.h"
#include "validate/link_worker.h"
#include "validate/operation_prices.h"
#include "validate/record_table.h"
#include "validate/restored_batch.h"
#include "validate/worker.h"

namespace alchemist {

struct RealHostConfig {
  std::int32_t pages = 0;             // of the arena
  Bytes page_bytes;                   // of one KV block, all layers: must be the model's
  Bytes host_capacity;                // pinned memory for records
  bool announce_last_step = false;    // asynchronous scheduling: the next operation is planned during the last step
  std::int32_t kept_versions = 0;     // of the weights, before those of now, for what was recorded under them
  std::optional<LinkPace> pace;       // an emulated link
  OperationPrices* prices = nullptr;  // is told of every operation; none: nobody; outlives the host
};

class RealHost final : public Host {
 public:
  // All references outlive the host. ConfigError if arena, kept weights or pinned pool do not fit the memory.
  RealHost(const RealHostConfig& config, Decoder& model, const WallClock& clock, RunObserver& observer);

  PagedMemory arena() const { return {arena_.data(), config_.page_bytes.count()}; }

  Arrival accept(RequestId id, const WorkloadRequest& request) { return book_.accept(id, request); }
  void take_in(Time now) { book_.take_in(now); }
  RequestOutcome take_outcome(RequestHandle handle, Time now);
  // The text of a request that waits for its feedback is kept until it is trained.
  void keep_text(RequestId request, const WorkloadRequest& spec) { texts_.emplace(request, spec); }

  OpId submit(const ServingOp& op) override;
  OpId submit(const TrainingPiece& piece) override;
  OpId submit(const CopyOp& copy) override;
  OpId all_reduce() override;
  void begin(const MicroBatchWork& work) override;
  void end_micro_batch() override;
  void forget(RecordId record) override;
  void report(const TrainingStep& step, std::span<const TrainedSample> samples) override;
  void wake_at(Time when) override { wake_ = when; }

  // An event waits for the node: a run in progress ends as soon as it can.
  void interrupt() { steps_.interrupt(); }
  std::optional<Time> take_wake() { return std::exchange(wake_, std::nullopt); }
  std::optional<Time> wake() const { return wake_; }

  // The oldest message of a worker, if one comes before `deadline`.
  std::optional<JobDone> wait_until(Time deadline) { return inbox_.wait_until(deadline); }
  // What a message means for the node; none if a run of steps goes on. Rethrows what went wrong in a job. `time` is
  // when the step ended; the completion's span is valid until the next call.
  struct Report {
    Time time;
    Completion completion;
    bool serving = false;  // of a serving operation
  };
  std::optional<Report> on_done(const JobDone& done);
  // After the node has been told something: starts what is queued, and returns what the node has to be told at once. To
  // be called until there is nothing more.
  std::optional<Completion> after_node();

  std::vector<std::pair<TrainedSample, Time>> take_trained() { return std::exchange(trained_, {}); }
  std::int64_t live_requests() const { return book_.live(); }
  Duration busy() const { return steps_.busy(); }
  bool idle() const { return !steps_.in_progress() && !piece_ && copies_.empty(); }

 private:
  struct Recorded {  // where the activations of a run of tokens go
    RecordId id;
    RecordKind kind;
    RecordChunk chunk;
    std::vector<std::int32_t> pages;
  };
  // Of an answer's tokens, as they are decoded.
  struct AnswerRecord {
    std::int32_t first_token = 0;  // of the request
    Recorded recorded;
    std::int32_t end_token() const { return first_token + recorded.chunk.tokens; }
  };
  struct Piece {
    OpId id;
    TrainingPiece piece;
  };
  struct Copy {
    OpId id;
    CopyOp op;
  };
  struct StepJob;

  Recorded extend_record(const RecordPart& part, std::int32_t tokens);
  void take_answers(std::span<const AnswerPart> answers);
  OpId new_op() { return std::exchange(next_op_, OpId(next_op_.value() + 1)); }
  void launch_step();
  std::shared_ptr<StepJob> prepare_step() const;
  void launch_piece();
  std::optional<Report> on_step_end(const JobDone& done);
  Report on_piece_end(const JobDone& done);
  // How long of the step or piece that has ended copies were in flight.
  Duration copied_beside(const JobDone& done) const;
  OperationPrices::Run run_of(const JobDone& done) const;
  Report on_copy_end(const JobDone& done);

  RealHostConfig config_;
  Decoder& model_;
  RunObserver& observer_;
  const WallClock& clock_;
  RecordLayout layout_;
  DeviceArray<std::byte> arena_;
  HostPool pool_;
  std::optional<KeptWeights> kept_;
  std::unique_ptr<RecordTable> records_;
  RequestBook book_;
  std::vector<std::vector<std::int32_t>> tables_;   // KV blocks by handle, with what the node has planned
  std::vector<std::vector<AnswerRecord>> answers_;  // being recorded, by handle, in the order of their tokens
  std::unordered_map<RequestId, WorkloadRequest> texts_;
  std::shared_ptr<RestoredBatch> batch_;
  bool batch_begun_ = false;  // on the model

  OpId next_op_;
  StepRun steps_;
  std::vector<std::optional<Recorded>> queued_records_;   // by prefill of the operation that waits
  std::vector<std::optional<Recorded>> records_of_step_;  // of the one in progress
  Time device_free_;                                      // the last step or piece has ended
  BusyTime copying_;                                      // copies in flight
  Duration copied_before_;                                // when the step or piece in progress was launched
  std::vector<PrefillChunk> chunks_;
  std::optional<Piece> queued_piece_;
  std::optional<Piece> piece_;
  std::unordered_map<std::uint64_t, Copy> copies_;  // by tag
  std::optional<Time> wake_;
  std::vector<std::pair<TrainedSample, Time>> trained_;

  Inbox inbox_;
  Worker compute_;  // the workers end first: their jobs use the rest
  LinkWorker to_host_;
  LinkWorker to_device_;
};

}  // namespace alchemist
