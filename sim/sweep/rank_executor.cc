#include "sim/sweep/rank_executor.h"

#include <chrono>
#include <future>
#include <thread>

#include "sim/app/interruption.h"
#include "sim/sweep/task_message.h"

namespace alchemist {

namespace {

constexpr const char* kGiveUp = "give up";  // the task, that is; too late for one that has just ended
constexpr const char* kGoHome = "go home";

// Rank 0 may change its mind while the task runs.
RunOutcome run_unless_told(RankChannel& channel, const RunTask& task) {
  std::stop_source stop;
  std::future<RunOutcome> outcome = std::async(std::launch::async, run_task, task, stop.get_token());
  while (outcome.wait_for(RankChannel::kBetweenLooks) != std::future_status::ready) {
    if (channel.receive()) stop.request_stop();
  }
  return outcome.get();
}

}  // namespace

RankExecutor::RankExecutor(RankChannel& channel) : channel_(channel) {
  for (int rank = 1; rank < channel.size(); ++rank) idle_.push_back(rank);
}

RankExecutor::~RankExecutor() {
  for (const int rank : idle_) channel_.send(rank, kGoHome);
}

void RankExecutor::run(const std::vector<RunTask>& tasks, SweepListener& listener) {
  try {
    run_all(tasks, listener);
  } catch (const Interrupted&) {
    // The launcher ends all ranks, since one is lost or the user wants it: nobody answers any more.
    idle_.clear();
    channel_.abandon();
    throw;
  } catch (...) {
    recall();
    throw;
  }
}

void RankExecutor::run_all(const std::vector<RunTask>& tasks, SweepListener& listener) {
  std::size_t next = 0, done = 0;
  while (done < tasks.size()) {
    while (next < tasks.size() && !idle_.empty()) {
      channel_.send(idle_.back(), task_message(tasks[next++]));
      idle_.pop_back();
    }
    if (const auto message = channel_.receive()) {
      idle_.push_back(message->from);
      ++done;
      listener.on_outcome(read_outcome(message->text));
    } else {
      std::this_thread::sleep_for(RankChannel::kBetweenLooks);
    }
    listener.on_tick(static_cast<std::int64_t>(next - done));
  }
}

void RankExecutor::recall() {
  std::vector<bool> idle(static_cast<std::size_t>(channel_.size()), false);
  for (const int rank : idle_) idle[static_cast<std::size_t>(rank)] = true;
  for (int rank = 1; rank < channel_.size(); ++rank) {
    if (!idle[static_cast<std::size_t>(rank)]) channel_.send(rank, kGiveUp);
  }
  while (idle_.size() + 1 < static_cast<std::size_t>(channel_.size())) idle_.push_back(channel_.wait().from);
}

void serve_tasks(RankChannel& channel) {
  while (true) {
    const std::string message = channel.wait().text;
    if (message == kGoHome) return;
    if (message != kGiveUp) channel.send(0, outcome_message(run_unless_told(channel, read_task(message))));
  }
}

}  // namespace alchemist
