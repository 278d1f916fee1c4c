// Threads of this process, one task each at a time.
#pragma once

#include "sim/sweep/executor.h"

namespace alchemist {

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(std::size_t threads) : threads_(threads) {}
  void run(const std::vector<RunTask>& tasks, SweepListener& listener) override;

 private:
  std::size_t threads_;
};

// The cores that this process may use.
std::size_t usable_cores();

}  // namespace alchemist
