// Runs the tasks of a sweep, wherever there is something to run them on.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/sweep/run_task.h"

namespace alchemist {

// Told what happens, always by the thread that called Executor::run. What it throws ends the run.
class SweepListener {
 public:
  virtual ~SweepListener() = default;
  virtual void on_outcome(const RunOutcome& outcome) = 0;
  // Called a few times a second, with the number of tasks that are running at the moment.
  virtual void on_tick(std::int64_t running) = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Returns when every task has an outcome; their order is that of completion. Before an exception leaves it, what runs
  // is told to stop, and is waited for.
  virtual void run(const std::vector<RunTask>& tasks, SweepListener& listener) = 0;
};

}  // namespace alchemist
