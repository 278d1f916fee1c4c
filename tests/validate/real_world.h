// A real run over scripted kernels: what it told its observers, and what the kernels, the link and the workload knew.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/error.h"
#include "tests/engine/training_world.h"
#include "tests/validate/scripted_model.h"
#include "validate/prompt_text.h"
#include "validate/real_run.h"

namespace alchemist::testing {

// One thread waits for what another one does. In vain for so long that it would be a failure: then it goes on.
class Signal {
 public:
  void set() {
    {
      const std::lock_guard lock(mutex_);
      is_set_ = true;
    }
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [this] { return is_set_; })) in_vain_ = true;
  }
  bool in_vain() const { return in_vain_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
  std::atomic<bool> in_vain_{false};
};

// Conversations whose next turn follows the answer after a think time, and a run that stays open until something has
// happened that the test waits for: in vain for so long that it is a failure.
class ConversationWorkload final : public WorkloadSource {
 public:
  struct Turn {
    WorkloadRequest request;
    std::optional<Duration> think = {};  // behind the answer to the turn before; none: it comes at its time
    std::function<bool()> opens = {};    // if not empty: it does not come before this holds
  };
  struct Answer {
    SessionId session;
    std::int32_t turn = 0;
    Time at;
  };
  explicit ConversationWorkload(std::vector<Turn> turns) {
    for (Turn& turn : turns) (turn.think ? later_ : pending_).push_back(std::move(turn));
  }
  std::function<bool()> stays_open;
  std::vector<Answer> answers;       // told by the run
  std::vector<WorkloadRequest> out;  // to the run, with their arrival
  bool gave_up = false;
  mutable std::int64_t peeks = 0;

  std::optional<Time> peek() const override {
    ++peeks;
    if (const auto next = first(); next != pending_.end()) return next->request.arrival;
    return open() || !pending_.empty() ? std::optional(at_ms(20'000)) : std::nullopt;
  }
  WorkloadRequest next() override {
    const auto it = first();
    if (it == pending_.end()) {
      gave_up = true;
      pending_.clear();
      return make_request(at_ms(20'000), 1, 1, 1'000'000);
    }
    out.push_back(it->request);
    pending_.erase(it);
    return out.back();
  }
  void on_finished(SessionId session, std::int32_t turn, Time now) override {
    answers.push_back({session, turn, now});
    const auto next = std::ranges::find_if(
        later_, [&](const Turn& later) { return later.request.session == session && later.request.turn == turn + 1; });
    if (next == later_.end()) return;
    next->request.arrival = now + *next->think;
    pending_.push_back(*next);
    later_.erase(next);
  }
  bool exhausted() const override { return pending_.empty() && later_.empty() && !open(); }
  std::optional<std::int64_t> total_requests() const override { return std::nullopt; }

 private:
  bool open() const { return stays_open && !gave_up && stays_open(); }
  // Of those that may come; the end if there is none.
  std::vector<Turn>::const_iterator first() const {
    auto found = pending_.end();
    for (auto turn = pending_.begin(); turn != pending_.end(); ++turn) {
      if (turn->opens && !turn->opens()) continue;
      if (found == pending_.end() || turn->request.arrival < found->request.arrival) found = turn;
    }
    return found;
  }
  std::vector<Turn> pending_, later_;
};

inline std::vector<ConversationWorkload::Turn> at_their_times(const std::vector<WorkloadRequest>& requests) {
  std::vector<ConversationWorkload::Turn> turns;
  for (const WorkloadRequest& request : requests) turns.push_back({request});
  return turns;
}

class RunBooks final : public RunObserver {
 public:
  explicit RunBooks(const WallClock& clock) : clock_(clock) {}

  void on_request_arrived(ReplicaId, RequestId id, Time now) override {
    stamped(now);
    EXPECT_TRUE(arrived.emplace(id, now).second);
    if (when_arrived) when_arrived(id);
  }
  void on_request_outcome(const RequestOutcome& outcome) override {
    EXPECT_TRUE(outcomes.emplace(outcome.id, outcome).second) << "an outcome is told once";
    order.push_back(outcome.id);
  }
  void on_preemption(ReplicaId, RequestId, Time now) override {
    EXPECT_GE(now, last_stamp_);
    ++preemptions;
  }
  void on_serving_span(const ServingSpan& span) override { spans.push_back(span); }
  void on_token_gap(Time now, Duration gap, std::int64_t count) override { gaps.push_back({now, gap, count}); }
  void on_memory(ReplicaId, Time now, const MemoryUse& use) override {
    stamped(now);
    memory.emplace_back(now, use);
  }
  void on_transfer(const TransferSpan& span) override {
    transfers.push_back(span);
    if (when_transferred) when_transferred(span);
  }
  void on_training_span(const TrainingSpan& span) override { pieces.push_back(span); }
  void on_training_step(const TrainingStep& step) override { steps.push_back(step); }

  struct Gap {
    Time at;
    Duration gap;
    std::int64_t count;
  };
  std::function<void(RequestId)> when_arrived;
  std::function<void(const TransferSpan&)> when_transferred;
  std::map<RequestId, Time> arrived;
  std::map<RequestId, RequestOutcome> outcomes;
  std::vector<RequestId> order;  // of the outcomes
  std::vector<ServingSpan> spans;
  std::vector<Gap> gaps;
  std::vector<std::pair<Time, MemoryUse>> memory;
  std::vector<TransferSpan> transfers;
  std::vector<TrainingSpan> pieces;
  std::vector<TrainingStep> steps;
  std::int64_t preemptions = 0;
  // The run's clock began when the model's showed a time from `begun` to this.
  Duration latest_start = Duration::max();

 private:
  // By the run, which tells it at `now` or later.
  void stamped(Time now) {
    EXPECT_GE(now, last_stamp_) << "times of one replica never go back";
    last_stamp_ = now;
    latest_start = std::min(latest_start, clock_.now() - now);
  }
  const WallClock& clock_;
  Time last_stamp_;
};

// A run and all that is known of it.
struct RealWorld : World {
  RealWorld() { blocks_known_ahead = true; }

  SimulationConfig real_config() {
    SimulationConfig result = config(policy, kv_blocks, share, delay);
    result.weight_bytes = Bytes(7);
    if (!trains) result.training.reset();
    result.record_events = [this](std::string_view line) {
      lines.emplace_back(line);
      if (when_logged) when_logged(lines.back());
    };
    if (change) change(result);
    return result;
  }
  // Runs the turns, and stays open as long as that holds.
  void run(std::vector<ConversationWorkload::Turn> turns, std::function<bool()> stays_open = {}) {
    workload = std::make_unique<ConversationWorkload>(std::move(turns));
    workload->stays_open = std::move(stays_open);
    const SimulationConfig real = real_config();
    RealRun run(real, model, pace, *workload, books, prices);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // as long as a model warms up; the run has not begun
    begun = model.clock().now().since_start();
    totals = run.run();
    error = run.error();
    ended = model.clock().now().since_start();
    EXPECT_FALSE(workload->gave_up) << "what the run waited for";
  }
  void run(const std::vector<WorkloadRequest>& requests, std::function<bool()> stays_open = {}) {
    run(at_their_times(requests), std::move(stays_open));
  }
  std::string message() const {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const std::exception& thrown) { return thrown.what(); }
    return "";
  }
  // The log's events told to a fresh node.
  ReplayTotals replay() {
    const std::string path =
        (std::filesystem::temp_directory_path() / ("real_run_test." + std::to_string(::getpid()) + ".log")).string();
    {
      std::ofstream file(path);
      for (const std::string& line : lines) file << line << '\n';
    }
    ReplayTotals result;
    try {
      LineReader log(path);
      log.next();
      result = replay_nodes(log, node_specs(real_config()));
    } catch (const ConfigError& failure) { ADD_FAILURE() << std::string(failure.what()).substr(0, 500); }
    std::filesystem::remove(path);
    return result;
  }
  // Of the log.
  std::int64_t lines_with(std::string_view part) const {
    return std::ranges::count_if(lines, [&](const std::string& line) { return line.find(part) != line.npos; });
  }
  // All copies that were begun are told.
  bool link_is_idle() const { return lines_with(" > copy ") == std::ssize(books.transfers); }
  // Until so many training steps are over.
  auto until_trained(std::size_t steps) {
    return [this, steps] { return books.steps.size() < steps || !link_is_idle(); };
  }

  Decisions policy = kTemporal;
  bool trains = false;
  std::int32_t kv_blocks = 400;
  double share = 1;
  Duration delay = Duration::milliseconds(1);
  std::optional<LinkPace> pace;
  std::function<void(SimulationConfig&)> change;
  std::function<void(const std::string&)> when_logged;

  ScriptedModel model{small_model(), 16};
  RunBooks books{model.clock()};
  OperationPrices prices{serving_cost, &cost, TurnCosts(ColdStart(), 1)};
  std::unique_ptr<ConversationWorkload> workload;
  std::vector<std::string> lines;  // of the event log
  SimulationTotals totals;
  std::exception_ptr error;
  Duration begun, ended;  // by the model's clock
};

}  // namespace alchemist::testing
