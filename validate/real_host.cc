#include "validate/real_host.h"

#include <algorithm>

#include "sim/base/check.h"
#include "validate/prompt_text.h"

namespace alchemist {
namespace {

// Jobs of the compute thread; copies are tagged with their operation.
constexpr std::uint64_t kStepTag = ~std::uint64_t{0};
constexpr std::uint64_t kPieceTag = kStepTag - 1;

}  // namespace

// Everything that a step needs, so that nothing is shared with the thread that goes on planning.
struct RealHost::StepJob {
  struct Sequence {
    std::vector<std::int32_t> tokens;
    std::int32_t context = 0;
    std::vector<std::int32_t> table;
    bool yields = true;
    std::optional<Recorded> record;
    std::int32_t record_first = 0;  // of its tokens, which one is the first here
  };
  std::vector<Sequence> sequences;

  void run(Decoder& model, PagedMemory arena, const RecordLayout& layout) const {
    const auto layers = static_cast<std::size_t>(model.options().shape.layers);
    std::vector<std::vector<RecordMemory>> memories(sequences.size());
    std::vector<SequenceStep> batch;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& sequence = sequences[i];
      SequenceStep step;
      step.tokens = sequence.tokens;
      step.context = sequence.context;
      step.block_table = sequence.table;
      step.yields_token = sequence.yields;
      if (sequence.record) {
        step.record_kind = sequence.record->kind;
        const std::int64_t layer_bytes = layout.bytes_per_token(step.record_kind) * sequence.record->chunk.tokens;
        for (std::size_t layer = 0; layer < layers; ++layer) {
          memories[i].push_back({arena.base, arena.page_bytes, sequence.record->pages,
                                 sequence.record->chunk.offset + static_cast<std::int64_t>(layer) * layer_bytes});
        }
        step.record = memories[i];
        step.record_tokens = sequence.record->chunk.tokens;
        step.record_first = sequence.record_first;
      }
      batch.push_back(step);
    }
    std::vector<std::int32_t> next(batch.size());
    model.step(batch, next);
    model.device().synchronise();
  }
};

RealHost::RealHost(const RealHostConfig& config, Decoder& model, const WallClock& clock, RunObserver& observer)
    : config_(config),
      model_(model),
      observer_(observer),
      clock_(clock),
      layout_(model.options().shape),
      arena_(model.device(), config.page_bytes.count() * config.pages),
      pool_(model.device(), config.page_bytes.count(),
            static_cast<std::int32_t>(config.host_capacity / config.page_bytes)),
      book_(ReplicaId(0), observer),
      steps_(ReplicaId(0), {.announce_last_step = config.announce_last_step}, book_, observer),
      inbox_(clock),
      compute_(inbox_, model.device().is_processor()),
      to_host_(inbox_, model.device(), CopyDirection::kDeviceToHost, config.pace),
      to_device_(inbox_, model.device(), CopyDirection::kHostToDevice, config.pace) {
  check(config.page_bytes.count() == model.page_bytes(), "a page is as large as the model's KV block");
  model.device().fill_zero(arena_.data(), arena_.bytes());
  model.use_arena(arena_.data());
  if (config.kept_versions > 0) kept_.emplace(model, config.kept_versions);
  records_ = std::make_unique<RecordTable>(layout_, static_cast<std::int32_t>(model.options().shape.layers),
                                           PagedMemory{arena_.data(), config.page_bytes.count()}, pool_);
}

RequestOutcome RealHost::take_outcome(RequestHandle handle, Time now) {
  tables_[handle.value()].clear();
  if (handle.value() < answers_.size()) answers_[handle.value()].clear();
  return book_.take_outcome(handle, now);
}

OpId RealHost::submit(const ServingOp& op) {
  const OpId id = new_op();
  steps_.queue(id, op, clock_.now());
  queued_records_.clear();
  const auto table = [this](RequestHandle handle) -> std::vector<std::int32_t>& {
    if (handle.value() >= tables_.size()) tables_.resize(handle.value() + 1);
    return tables_[handle.value()];
  };
  for (const GrownTable& grown : op.grown) {
    table(grown.request).push_back(static_cast<std::int32_t>(grown.block.value()));
  }
  for (const PrefillWork& work : op.prefills) {
    std::vector<std::int32_t>& blocks = table(work.request);
    blocks.clear();
    for (const BlockId block : work.blocks) blocks.push_back(static_cast<std::int32_t>(block.value()));
    std::optional<Recorded> recorded;
    if (work.record) recorded = extend_record(*work.record, work.recorded_tokens);
    queued_records_.push_back(std::move(recorded));
  }
  take_answers(op.answers);
  return id;
}

RealHost::Recorded RealHost::extend_record(const RecordPart& part, std::int32_t tokens) {
  const RecordChunk chunk = records_->extend(part, tokens);
  const RecordTable::Entry& entry = records_->entry(part.id);
  return {part.id, entry.kind, chunk, entry.pages};
}

// Steps that are under way have copies of what they use.
void RealHost::take_answers(std::span<const AnswerPart> answers) {
  for (const AnswerPart& answer : answers) {
    if (answer.request.value() >= answers_.size()) answers_.resize(answer.request.value() + 1);
    std::vector<AnswerRecord>& records = answers_[answer.request.value()];
    std::erase_if(records, [&](const AnswerRecord& old) { return old.end_token() <= answer.first_token; });
    records.push_back({answer.first_token, extend_record(answer.record, answer.tokens)});
  }
}

OpId RealHost::submit(const TrainingPiece& piece) {
  check(!queued_piece_ && !piece_ && !steps_.queued(), "one piece at a time, before what is planned behind it");
  queued_piece_ = Piece{new_op(), piece};
  return queued_piece_->id;
}

OpId RealHost::all_reduce() { throw InternalError("the only device has no other's gradients to wait for"); }

OpId RealHost::submit(const CopyOp& copy) {
  const OpId id = new_op();
  copies_.emplace(id.value(), Copy{id, copy});
  copying_.begin(clock_.now());
  if (copy.direction == LinkDirection::kDeviceToHost) {
    check(copy.record.has_value() || batch_ != nullptr, "what goes to the host is a record or of a micro-batch");
    to_host_.submit(id.value(), copy.record ? records_->copy_out(*copy.record) : batch_->copy_out(copy.layer));
  } else {
    check(batch_ != nullptr, "what comes back is of a micro-batch");
    to_device_.submit(id.value(), copy.keys ? batch_->copy_in_keys(copy.layer) : batch_->copy_in(copy.layer));
  }
  return id;
}

void RealHost::begin(const MicroBatchWork& work) {
  std::vector<std::vector<std::int32_t>> conversations;
  for (const Feedback& sample : work.samples) {
    const WorkloadRequest& spec = texts_.at(sample.request);
    conversations.push_back(conversation_tokens(spec.content, spec.prompt_tokens, 0,
                                                sample.prompt_tokens + sample.output_tokens,
                                                model_.options().shape.vocabulary));
  }
  check(batch_ == nullptr, "one micro-batch at a time");
  batch_ = std::make_shared<RestoredBatch>(work, std::move(conversations), *records_, kept_ ? &*kept_ : nullptr);
  batch_begun_ = false;
}

// The model keeps the gradient that it had come to, for one that begins again.
void RealHost::end_micro_batch() {
  batch_->end(pool_);
  batch_.reset();
}

void RealHost::forget(RecordId record) {
  records_->forget(record);
  for (std::vector<AnswerRecord>& answers : answers_) {
    std::erase_if(answers, [&](const AnswerRecord& answer) { return answer.recorded.id == record; });
  }
}

void RealHost::report(const TrainingStep& step, std::span<const TrainedSample> samples) {
  observer_.on_training_step(step);
  for (const TrainedSample& sample : samples) {
    trained_.emplace_back(sample, step.end);
    texts_.erase(sample.request);
  }
}

std::optional<Completion> RealHost::after_node() {
  if (!steps_.in_progress() && !piece_ && queued_piece_) launch_piece();
  if (!steps_.in_progress() && !piece_ && steps_.queued()) {
    std::swap(records_of_step_, queued_records_);
    if (!steps_.begin(clock_.now())) return steps_.completion(clock_.now(), true);
    launch_step();
  }
  return steps_.announce(clock_.now());
}

std::shared_ptr<RealHost::StepJob> RealHost::prepare_step() const {
  auto job = std::make_shared<StepJob>();
  const std::int64_t vocabulary = model_.options().shape.vocabulary;
  const auto add = [&](RequestHandle handle, std::int32_t context, std::int32_t tokens) -> StepJob::Sequence& {
    const WorkloadRequest& spec = book_.spec(handle);
    StepJob::Sequence& sequence = job->sequences.emplace_back();
    sequence.tokens = conversation_tokens(spec.content, spec.prompt_tokens, context, context + tokens, vocabulary);
    sequence.context = context;
    sequence.table = tables_[handle.value()];
    return sequence;
  };
  book_.batch().for_each([&](RequestHandle handle, std::int64_t context) {
    const auto token = static_cast<std::int32_t>(context);
    StepJob::Sequence& sequence = add(handle, token, 1);
    if (handle.value() >= answers_.size()) return;
    for (const AnswerRecord& answer : answers_[handle.value()]) {
      if (token < answer.first_token || token >= answer.end_token()) continue;
      sequence.record = answer.recorded;
      sequence.record_first = token - answer.first_token;
    }
  });
  const std::span<const PrefillWork> prefills = steps_.prefills();
  for (std::size_t i = 0; i < prefills.size(); ++i) {
    const PrefillWork& work = prefills[i];
    StepJob::Sequence& sequence = add(work.request, work.chunk.context, work.chunk.tokens);
    sequence.yields = work.last;
    sequence.record = records_of_step_[i];
  }
  return job;
}

// No piece is in progress: the weights of now are those that the step computes with.
void RealHost::launch_step() {
  copied_before_ = copying_.until(clock_.now());
  std::shared_ptr<const StepJob> job = prepare_step();
  for (const StepJob::Sequence& sequence : job->sequences) {
    if (!sequence.record) continue;
    records_->compute(sequence.record->id, sequence.record->chunk.first_token + sequence.record_first,
                      model_.version());
  }
  compute_.submit(kStepTag, [this, job] { job->run(model_, records_->arena(), layout_); });
}

void RealHost::launch_piece() {
  piece_ = std::exchange(queued_piece_, std::nullopt);
  const bool begins = !std::exchange(batch_begun_, true);
  copied_before_ = copying_.until(clock_.now());
  compute_.submit(kPieceTag,
                  [this, piece = piece_->piece, batch = std::shared_ptr<const RestoredBatch>(batch_), begins] {
                    if (piece.kind == PieceKind::kOptimizer) {
                      // The model's is one: the first part does it all.
                      if (piece.first_token == 0) {
                        if (kept_) kept_->keep();
                        model_.optimizer_step();
                      }
                    } else {
                      if (begins) batch->begin(model_);
                      batch->run(piece, model_);
                    }
                    model_.device().synchronise();
                  });
}

std::optional<RealHost::Report> RealHost::on_done(const JobDone& done) {
  if (done.tag == kStepTag) return on_step_end(done);
  return done.tag == kPieceTag ? on_piece_end(done) : on_copy_end(done);
}

std::optional<RealHost::Report> RealHost::on_step_end(const JobDone& done) {
  if (done.error) {
    steps_.abandon();
    std::rethrow_exception(done.error);
  }
  if (config_.prices) {
    const Bytes recorded = steps_.recorded();
    steps_.add_recording(config_.prices->recording(recorded));
    config_.prices->step(book_.next_step(steps_.prefills(), chunks_), done.start - device_free_, recorded,
                         run_of(done));
  }
  device_free_ = done.end;
  if (!steps_.end_step(done.end)) return Report{done.end, steps_.completion(done.end, true), true};
  launch_step();
  const std::optional<Completion> last_step = steps_.announce(done.end);
  if (!last_step) return std::nullopt;
  return Report{done.end, *last_step, true};
}

// A copy that had ended when the step or piece was launched, but was not known to have, was counted up to that moment.
Duration RealHost::copied_beside(const JobDone& done) const {
  return std::clamp(copying_.until(done.end) - copied_before_, Duration(), done.end - done.start);
}

OperationPrices::Run RealHost::run_of(const JobDone& done) const {
  return {done.start, done.end - done.start, copied_beside(done), done.probe_us};
}

RealHost::Report RealHost::on_piece_end(const JobDone& done) {
  const Piece piece = *std::exchange(piece_, std::nullopt);
  if (done.error) std::rethrow_exception(done.error);
  if (config_.prices) config_.prices->piece(piece.piece, run_of(done));
  device_free_ = done.end;
  observer_.on_training_span({ReplicaId(0), phase_of(piece.piece.kind), done.start, done.end});
  return {done.end, {piece.id, true, 1, done.end - done.start, {}}};
}

RealHost::Report RealHost::on_copy_end(const JobDone& done) {
  const auto found = copies_.find(done.tag);
  const Copy copy = found->second;
  copies_.erase(found);
  copying_.end(done.end);
  if (done.error) std::rethrow_exception(done.error);
  interrupt();  // for its memory, or for what it has brought
  observer_.on_transfer({ReplicaId(0), copy.op.direction, done.start, done.end, copy.op.bytes});
  return {done.end, {copy.id, true, 1, done.end - done.start, {}}};
}

}  // namespace alchemist
