#include "sim/sweep/thread_executor.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "sim/base/error.h"

namespace alchemist {

namespace {

constexpr std::chrono::milliseconds kBetweenTicks{200};

// Outcomes on their way from the threads that make them to the one that waits for them.
class OutcomeQueue {
 public:
  void push(RunOutcome outcome) {
    {
      const std::lock_guard lock(mutex_);
      outcomes_.push_back(std::move(outcome));
    }
    some_.notify_one();
  }
  // None if there is none within the time of a tick.
  std::optional<RunOutcome> pop() {
    std::unique_lock lock(mutex_);
    if (!some_.wait_for(lock, kBetweenTicks, [this] { return !outcomes_.empty(); })) return std::nullopt;
    RunOutcome outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    return outcome;
  }

 private:
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<RunOutcome> outcomes_;
};

// However the scope is left, all threads are told at once.
struct StopAtExit {
  std::stop_source& source;
  ~StopAtExit() { source.request_stop(); }
};

}  // namespace

void ThreadExecutor::run(const std::vector<RunTask>& tasks, SweepListener& listener) {
  OutcomeQueue outcomes;
  std::atomic<std::size_t> next = 0;
  std::stop_source stop;
  const auto work = [&] {
    for (std::size_t i = next++; i < tasks.size() && !stop.stop_requested(); i = next++)
      outcomes.push(run_task(tasks[i], stop.get_token()));
  };
  std::vector<std::jthread> threads;  // waited for at their end
  const StopAtExit at_exit{stop};
  try {
    for (std::size_t i = 0; i < std::min(threads_, tasks.size()); ++i) threads.emplace_back(work);
  } catch (const std::system_error& e) {
    throw ConfigError(
        fmt::format("cannot start thread {} of {}: {}; expected a higher limit (ulimit -u, -v), or fewer --jobs",
                    threads.size() + 1, std::min(threads_, tasks.size()), e.what()));
  }
  for (std::size_t done = 0; done < tasks.size();) {
    if (const std::optional<RunOutcome> outcome = outcomes.pop()) {
      listener.on_outcome(*outcome);
      ++done;
    }
    listener.on_tick(static_cast<std::int64_t>(std::min(threads_, tasks.size() - done)));
  }
}

std::size_t usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return static_cast<std::size_t>(CPU_COUNT(&cores));
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace alchemist
