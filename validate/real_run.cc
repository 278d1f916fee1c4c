#include "validate/real_run.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {
namespace {

RealHostConfig host_config(const SimulationConfig& config, std::optional<LinkPace> pace, OperationPrices& prices) {
  RealHostConfig host;
  host.pages = config.kv_blocks;
  host.page_bytes = config.kv_block_bytes;
  if (config.training) {
    host.host_capacity = config.training->store.host_capacity;
    host.kept_versions = config.training->trainer.kept_versions;
  }
  host.announce_last_step = config.serving.async_scheduling;
  host.pace = pace;
  host.prices = &prices;
  return host;
}

}  // namespace

RealRun::RealRun(const SimulationConfig& config, Decoder& model, std::optional<LinkPace> pace, WorkloadSource& workload,
                 RunObserver& observer, OperationPrices& prices)
    : config_(config),
      workload_(workload),
      observer_(observer),
      host_(host_config(config, pace, prices), model, clock_, observer) {
  check(config.replicas == 1 && config.serving.blocks_known_ahead, "a real run has one replica that knows its blocks");
  const std::vector<NodeSpec> specs = node_specs(config);
  check(specs.size() == 1, "one device serves and trains");
  if (config.record_events) recorder_ = std::make_unique<NodeRecorder>(ReplicaId(0), host_, config.record_events);
  node_ = specs.front().make(recorder_ ? static_cast<Host&>(*recorder_) : host_);
  if (config.training) feedback_.emplace(config.seed, config.training->feedback, observer);
}

SimulationTotals RealRun::run() {
  clock_ = WallClock();  // the run begins now: the model is there
  report_memory(Time());
  try {
    loop();
  } catch (const InternalError&) { throw; } catch (...) {
    error_ = std::current_exception();
  }
  finish();
  return totals_;
}

// Arrivals and feedback come when they are due, whatever the device is doing; a wake comes after everything that has
// happened by its time.
void RealRun::loop() {
  while (!is_over()) {
    if (const auto done = host_.wait_until(next_deadline())) {
      handle(*done);
      continue;
    }
    const Time now = stamp();
    admit_arrivals(now);
    deliver_feedback(now);
    deliver_wake(now);
  }
}

bool RealRun::is_over() const {
  return workload_.exhausted() && totals_.arrived == totals_.completed + totals_.rejected;
}

Time RealRun::next_deadline() const {
  Time deadline = host_.wake().value_or(Time::max());
  if (const auto arrival = workload_.peek()) deadline = std::min(deadline, *arrival);
  if (!due_.empty()) deadline = std::min(deadline, due_.begin()->first);
  return deadline;
}

// Events of a node never go back in time.
Time RealRun::stamp() {
  last_stamp_ = std::max(last_stamp_, clock_.now());
  return last_stamp_;
}

void RealRun::admit_arrivals(Time now) {
  for (auto arrival = workload_.peek(); arrival && *arrival <= now; arrival = workload_.peek()) {
    admit(workload_.next(), now);
  }
}

void RealRun::admit(const WorkloadRequest& request, Time now) {
  const RequestId id(static_cast<std::uint32_t>(totals_.arrived++));
  const std::optional<Duration> delay = feedback_ ? feedback_->draw_for(request.session, request.turn) : std::nullopt;
  const std::int32_t tokens = request.prompt_tokens + request.output_tokens;
  if (!node_->scheduler().can_ever_fit(tokens) ||
      (config_.serving.max_model_len && tokens > *config_.serving.max_model_len)) {
    ++totals_.rejected;
    workload_.on_finished(request.session, request.turn, now);
    return;
  }
  Arrival arrival = host_.accept(id, request);
  if (delay) {
    feedback_->expect(id, *delay, request.content);
    host_.keep_text(id, request);
  }
  if (config_.training && config_.training->clairvoyant) {
    arrival.foresees_feedback = true;
    arrival.feedback_delay = delay;
  }
  observer_.on_request_arrived(ReplicaId(0), id, now);
  host_.interrupt();
  record(now, arrival);
  node_->on_arrival(now, arrival);
  answer(now);
}

void RealRun::deliver_feedback(Time now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    const Feedback feedback = due_.begin()->second;
    due_.erase(due_.begin());
    totals_.add(feedback);
    host_.interrupt();
    record(now, feedback);
    node_->on_feedback(now, feedback);
    answer(now);
  }
}

void RealRun::deliver_wake(Time now) {
  const auto wake = host_.wake();
  if (!wake || *wake > now) return;
  host_.take_wake();
  host_.take_in(now);
  if (recorder_) recorder_->wake(now);
  node_->on_wake(now);
  answer(now);
  report_memory(now);
}

void RealRun::handle(const JobDone& done) {
  const auto report = host_.on_done(done);
  if (!report) return;
  const Time now = stamp();
  totals_.end = std::max(totals_.end, report->time);
  if (report->serving) host_.take_in(now);
  end_requests(*report);
  record(now, report->completion);
  node_->on_completion(now, report->completion);
  answer(now);
  report_memory(now);
}

void RealRun::end_requests(const RealHost::Report& report) {
  for (const RequestHandle handle : report.completion.ended) {
    const RequestOutcome outcome = host_.take_outcome(handle, report.time);
    ++totals_.completed;
    if (!feedback_) {
      observer_.on_request_outcome(outcome);
    } else if (const auto due = feedback_->finished(outcome)) {
      due_.emplace(due->at, due->feedback);
    }
    workload_.on_finished(outcome.session, outcome.turn, report.time);
  }
}

void RealRun::answer(Time now) {
  while (const auto completion = host_.after_node()) {
    record(now, *completion);
    node_->on_completion(now, *completion);
  }
  for (const auto& [sample, at] : host_.take_trained()) feedback_->trained(sample, at);
}

void RealRun::report_memory(Time now) {
  const MemoryUse use = memory_use(config_, *node_);
  totals_.peak_kv = std::max(totals_.peak_kv, use.kv);
  observer_.on_memory(ReplicaId(0), now, use);
}

void RealRun::finish() {
  totals_.busy = host_.busy();
  if (feedback_) feedback_->finish();
  if (!node_->store()) return;
  totals_.store = node_->store()->totals();
  totals_.trainer = node_->trainer()->totals();
}

}  // namespace alchemist
