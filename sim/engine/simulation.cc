#include "sim/engine/simulation.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/longest_run.h"

namespace alchemist {

namespace {

NodeTraining make_node_training(const TrainingSetup& setup, std::int32_t replicas) {
  NodeTraining training;
  training.store = setup.store;
  training.trainer = setup.trainer;
  training.trainer.replicas = replicas;
  training.policy = setup.make_policy();
  training.estimator = setup.estimator;
  training.step_host_time = setup.step_host_time;
  return training;
}

std::int32_t training_replicas(const SimulationConfig& config) {
  const std::int32_t separate = config.training->separate_replicas;
  return separate > 0 ? separate : config.replicas;
}

}  // namespace

std::vector<NodeSpec> node_specs(const SimulationConfig& config) {
  NodeSpec serving{config.serving, config.kv_blocks, {}};
  serving.serving.weighs_prompts = config.routing == Routing::kPrefixAware;
  std::int32_t separate = 0;
  std::function<NodeTraining()> make_training;
  if (config.training) {
    separate = config.training->separate_replicas;
    make_training = [setup = *config.training, replicas = training_replicas(config)] {
      return make_node_training(setup, replicas);
    };
    if (separate == 0) serving.make_training = make_training;
  }
  std::vector<NodeSpec> specs(static_cast<std::size_t>(config.replicas), serving);
  if (separate > 0) {
    specs.insert(specs.end(), static_cast<std::size_t>(separate),
                 {config.serving, config.training->separate_pages, make_training});
  }
  return specs;
}

void SimulationTotals::add(const Feedback& feedback) {
  ++feedback_samples;
  feedback_tokens += feedback.tokens();
  feedback_prompt_tokens += feedback.prompt_tokens;
  feedback_answer_tokens += feedback.answer_tokens();
}

Simulation::Simulation(const SimulationConfig& config, const StepCost& cost, WorkloadSource& workload,
                       RunObserver& observer)
    : config_(config),
      cost_(cost),
      workload_(workload),
      observer_(observer),
      router_(config.routing),
      serving_replicas_(config.replicas) {
  check(config.replicas >= 1, "at least one replica serves");
  if (config.training) {
    feedback_.emplace(config.seed, config.training->feedback, observer);
    steps_.emplace(training_replicas(config));
  }
  std::int32_t serving = config.replicas;
  for (const NodeSpec& spec : node_specs(config)) add_replica(spec, serving-- > 0);
}

void Simulation::add_replica(const NodeSpec& spec, bool serves) {
  const ReplicaId id(static_cast<std::uint32_t>(replicas_.size()));
  Replica replica;
  SimHost::Options options = config_.host;
  options.steps.announce_last_step = config_.serving.async_scheduling;
  std::optional<SimHost::TrainingHost> host_training;
  if (spec.make_training) host_training = {config_.training->cost, config_.training->link, config_.training->beside};
  replica.host = std::make_unique<SimHost>(id, cost_, queue_, observer_, options, host_training);
  if (config_.record_events) {
    replica.recorder = std::make_unique<NodeRecorder>(id, *replica.host, config_.record_events);
  }
  replica.node = spec.make(replica.recorder ? static_cast<Host&>(*replica.recorder) : *replica.host);
  if (serves) nodes_.push_back(replica.node.get());
  replicas_.push_back(std::move(replica));
  report_memory(replicas_.back(), id, Time());
}

bool Simulation::is_over() const {
  return workload_.exhausted() && totals_.arrived == totals_.completed + totals_.rejected;
}

SimulationTotals Simulation::run() {
  for (;;) {
    const std::optional<Time> arrival = workload_.peek();
    if (arrival && *arrival <= queue_.next_time()) {  // arrivals come first among events of the same time
      admit_arrival();
    } else if (!queue_.empty() && !(config_.training && is_over())) {
      handle(queue_.pop());
    } else {
      break;
    }
  }
  check(workload_.exhausted(), "a workload that waits for answers gets them");
  check(totals_.arrived == totals_.completed + totals_.rejected, "requests are conserved");
  finish();
  return totals_;
}

void Simulation::finish() {
  for (const Replica& replica : replicas_) {
    check(replica.host->live_requests() == 0, "every request that arrived has ended");
    check(replica.node->scheduler().load().to_compute == 0, "nobody is left who would have tokens to compute");
    totals_.busy += replica.host->busy();
    if (!replica.node->store()) {
      check(replica.node->scheduler().pool().used() == 0, "every KV block was given back");
      continue;
    }
    replica.node->store()->check_consistency();
    const StoreTotals store = replica.node->store()->totals();
    totals_.store.records += store.records;
    totals_.store.recorded += store.recorded;
    totals_.store.dropped_records += store.dropped_records;
    totals_.store.wasted_copies += store.wasted_copies;
    const TrainerTotals trainer = replica.node->trainer()->totals();
    totals_.trainer.samples += trainer.samples;
    totals_.trainer.queued_samples += trainer.queued_samples;
    totals_.trainer.queued_tokens += trainer.queued_tokens;
    totals_.trainer.too_long += trainer.too_long;
    totals_.trainer.preemptions += trainer.preemptions;
  }
  if (feedback_) feedback_->finish();
  if (const auto step = steps_ ? steps_->rest() : std::nullopt) observer_.on_training_step(*step);
}

Time Simulation::horizon() const {
  const std::optional<Time> arrival = workload_.peek();
  return arrival ? std::min(*arrival, queue_.next_time()) : queue_.next_time();
}

// Brings the node's tables to the step that its replica is in.
void Simulation::catch_up(Replica& replica, Time now) {
  const auto progress = replica.host->progress();
  if (!progress) return;
  if (replica.recorder) replica.recorder->progress(now, progress->op, progress->steps_begun);
  replica.node->catch_up(progress->op, progress->steps_begun);
}

std::size_t Simulation::route(const WorkloadRequest& request) {
  if (config_.routing == Routing::kPrefixAware) {
    for (std::int32_t i = 0; i < serving_replicas_; ++i) {
      catch_up(replicas_[static_cast<std::size_t>(i)], request.arrival);
    }
  }
  Arrival probe;
  probe.prompt_tokens = request.prompt_tokens;
  probe.content = request.content;
  return router_.choose(probe, nodes_);
}

void Simulation::admit_arrival() {
  const WorkloadRequest request = workload_.next();
  const Time now = request.arrival;
  if (now.since_start() > kLongestRun) {
    throw ConfigError(
        "the workload goes on for more than 100 years of simulated time: expected a higher rate or fewer requests");
  }
  const RequestId id(static_cast<std::uint32_t>(totals_.arrived++));
  const std::optional<Duration> feedback_delay =
      feedback_ ? feedback_->draw_for(request.session, request.turn) : std::nullopt;
  const std::int32_t total_tokens = request.prompt_tokens + request.output_tokens;
  if (!nodes_.front()->scheduler().can_ever_fit(total_tokens) ||
      (config_.serving.max_model_len && total_tokens > *config_.serving.max_model_len)) {
    ++totals_.rejected;
    workload_.on_finished(request.session, request.turn, now);
    return;
  }
  totals_.end = std::max(totals_.end, now);
  const std::size_t chosen = route(request);
  Replica& replica = replicas_[chosen];
  Arrival arrival = replica.host->accept(id, request);
  if (feedback_delay) feedback_->expect(id, *feedback_delay, request.content);
  if (config_.training && config_.training->clairvoyant) {
    arrival.foresees_feedback = true;
    arrival.feedback_delay = feedback_delay;
  }
  observer_.on_request_arrived(ReplicaId(static_cast<std::uint32_t>(chosen)), id, now);
  replica.host->set_now(now);
  replica.host->interrupt();
  if (replica.recorder) replica.recorder->event(now, arrival);
  replica.node->on_arrival(now, arrival);
  answer(replica, now);
}

// Tells the node what its host has to say at once, until it has nothing more.
void Simulation::answer(Replica& replica, Time now) {
  while (const auto completion = replica.host->after_node()) replica.tell(now, *completion);
  if (replica.host->has_reported()) tell_trained(replica, now);
}

void Simulation::tell_trained(Replica& replica, Time now) {
  if (const auto part = replica.host->take_step()) {
    if (const auto step = steps_->add(*part)) {
      observer_.on_training_step(*step);
      send_weights(now);
    }
  }
  for (const SimHost::TrainedRequest& trained : replica.host->take_trained()) {
    feedback_->trained(trained.sample, trained.at);
  }
}

// From GPUs that only train to those that only serve, which plan the step after the one in progress with them. The
// sending was the end of the training step.
void Simulation::send_weights(Time now) {
  if (config_.training->separate_replicas == 0) return;
  for (std::int32_t i = 0; i < serving_replicas_; ++i) {
    Replica& replica = replicas_[static_cast<std::size_t>(i)];
    catch_up(replica, now);
    if (replica.recorder) replica.recorder->new_weights(now);
    replica.node->on_new_weights(now);
  }
}

void Simulation::handle(const SimEventQueue::Event& event) {
  const ReplicaId id = event.payload.replica;
  Replica& replica = replicas_[id.value()];
  replica.host->set_now(event.time);
  switch (event.payload.kind) {
    case SimEventKind::kStepStart:
      replica.host->take_in(event.time);
      replica.host->on_step_start();
      break;
    case SimEventKind::kStepEnd:
      handle_step_end(replica, id, event.time);
      return;
    case SimEventKind::kPieceEnd:
      handle_piece_end(replica, id, event.time);
      return;
    case SimEventKind::kLink:
      handle_link(replica, event.time, event.payload.data);
      break;
    case SimEventKind::kFeedback:
      handle_feedback(replica, event.time, event.payload.data);
      break;
    case SimEventKind::kAllReduce:
      handle_all_reduce(replica, event.time);
      return;
    case SimEventKind::kWake:
      replica.host->take_in(event.time);
      if (replica.recorder) replica.recorder->wake(event.time);
      replica.node->on_wake(event.time);
      break;
  }
  answer(replica, event.time);
  report_memory(replica, id, event.time);
}

void Simulation::handle_piece_end(Replica& replica, ReplicaId id, Time now) {
  replica.tell(now, replica.host->on_piece_end(now));
  answer(replica, now);
  report_memory(replica, id, now);
  share_work(now);
}

void Simulation::handle_link(Replica& replica, Time now, std::uint32_t version) {
  const std::vector<Completion> completions = replica.host->on_link(now, version);
  for (const Completion& completion : completions) {
    replica.host->interrupt();
    replica.tell(now, completion);
    answer(replica, now);
  }
}

void Simulation::handle_feedback(Replica& replica, Time now, std::uint32_t sample) {
  const Feedback feedback = samples_[sample];
  free_samples_.push_back(sample);
  totals_.add(feedback);
  replica.host->interrupt();
  if (replica.recorder) replica.recorder->event(now, feedback);
  replica.node->on_feedback(now, feedback);
}

// Whoever joins first calls the others; whoever joins last sets all free.
void Simulation::handle_all_reduce(Replica& joined, Time now) {
  joined.joined = true;
  if (joined_replicas() == 1) {
    for (Replica& replica : replicas_) {
      if (!replica.node->trainer() || replica.joined) continue;
      tell(replica, now, [&] {
        if (replica.recorder) replica.recorder->all_reduce(now);
        replica.node->on_all_reduce(now);
      });
    }
  }
  share_work(now);
  if (joined_replicas() < training_replicas(config_)) return;
  for (Replica& replica : replicas_) {
    if (!std::exchange(replica.joined, false)) continue;
    tell(replica, now, [&] { replica.tell(now, replica.host->on_all_reduced()); });
  }
}

std::int32_t Simulation::joined_replicas() const {
  return static_cast<std::int32_t>(std::ranges::count(replicas_, true, &Replica::joined));
}

// A replica that waits for others' gradients takes a micro-batch over from whoever has most of them left to begin.
void Simulation::share_work(Time now) {
  for (Replica& taker : replicas_) {
    if (!taker.joined || taker.node->trainer()->ready_samples() == 0) continue;
    const auto left = [](const Replica& r) {
      return r.node->trainer() ? r.node->trainer()->micro_batches_to_begin() : 0;
    };
    Replica& giver = *std::ranges::max_element(replicas_, {}, left);
    if (left(giver) == 0) return;
    std::int64_t tokens = 0;
    tell(giver, now, [&] {
      if (giver.recorder) giver.recorder->hand_over(now);
      tokens = giver.node->on_hand_over(now);
    });
    taker.joined = false;
    taker.host->leave_all_reduce();
    tell(taker, now, [&] {
      if (taker.recorder) taker.recorder->take_over(now, tokens);
      taker.node->on_take_over(now, tokens);
    });
  }
}

template <class Tell>
void Simulation::tell(Replica& replica, Time now, Tell&& say) {
  replica.host->set_now(now);
  replica.host->interrupt();
  say();
  answer(replica, now);
  report_memory(replica, ReplicaId(static_cast<std::uint32_t>(&replica - replicas_.data())), now);
}

void Simulation::handle_step_end(Replica& replica, ReplicaId id, Time now) {
  const auto report = replica.host->on_step_end(now, horizon());
  if (!report) return;
  totals_.end = std::max(totals_.end, report->time);
  replica.host->set_now(report->time);
  replica.host->take_in(report->time);
  for (const RequestHandle handle : report->completion.ended) {
    const RequestOutcome outcome = replica.host->take_outcome(handle, report->time);
    ++totals_.completed;
    if (!feedback_) {
      observer_.on_request_outcome(outcome);
    } else if (const auto due = feedback_->finished(outcome)) {
      await_feedback(*due, id);
    }
    workload_.on_finished(outcome.session, outcome.turn, report->time);
  }
  if (report->completion.steps > 1) {  // what its requests had grown to, before those that ended give it back
    replica.node->catch_up(report->completion.op, report->completion.steps);
    report_memory(replica, id, report->time);
  }
  replica.tell(report->time, report->completion);
  answer(replica, report->time);
  report_memory(replica, id, report->time);
}

void Simulation::await_feedback(const FeedbackBook::Due& due, ReplicaId served_by) {
  std::uint32_t sample = static_cast<std::uint32_t>(samples_.size());
  if (free_samples_.empty()) {
    samples_.emplace_back();
  } else {
    sample = free_samples_.back();
    free_samples_.pop_back();
  }
  samples_[sample] = due.feedback;
  // The other answers are as long as the served one, which is what the same model gives to the same prompt on average;
  // making them is charged to nobody, whatever the policy.
  samples_[sample].other_answers = config_.training->trainer.training.other_answers();
  samples_[sample].other_answer_tokens = due.feedback.output_tokens;
  const ReplicaId target = trainer_of(due.feedback.request, served_by);
  queue_.push(due.at, EventPriority::kFeedback, {SimEventKind::kFeedback, target, sample});
}

// A record is trained where it lies; without records any training replica will do, and they take turns.
ReplicaId Simulation::trainer_of(RequestId request, ReplicaId served_by) const {
  const std::int32_t separate = config_.training->separate_replicas;
  if (separate == 0) return served_by;
  return ReplicaId(static_cast<std::uint32_t>(serving_replicas_) +
                   request.value() % static_cast<std::uint32_t>(separate));
}

MemoryUse memory_use(const SimulationConfig& config, const Node& node) {
  MemoryUse use;
  use.weights = config.weight_bytes;
  use.kv = config.kv_block_bytes * node.scheduler().pool().used();
  if (node.store()) {
    use.activations = node.store()->gpu_bytes();
    const Bytes working = node.trainer()->gpu_bytes();
    use.kv -= use.activations + working;
    use.training = config.training->static_bytes + working;
    use.host = node.store()->host_bytes();
  }
  return use;
}

void Simulation::report_memory(Replica& replica, ReplicaId id, Time now) {
  const MemoryUse use = memory_use(config_, *replica.node);
  if (replica.reported == use) return;
  replica.reported = use;
  totals_.peak_kv = std::max(totals_.peak_kv, use.kv);
  observer_.on_memory(id, now, use);
}

}  // namespace alchemist
