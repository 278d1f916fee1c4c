// MPI ranks: the first hands out the tasks, each of the others runs one at a time.
#pragma once

#include <memory>
#include <vector>

#include "sim/sweep/executor.h"
#include "sim/sweep/rank_channel.h"

namespace alchemist {

// On rank 0, with at least one other rank. A task goes to whoever is free. At the end of its life the other ranks are
// sent home.
class RankExecutor final : public Executor {
 public:
  explicit RankExecutor(RankChannel& channel);
  ~RankExecutor() override;
  void run(const std::vector<RunTask>& tasks, SweepListener& listener) override;

 private:
  void run_all(const std::vector<RunTask>& tasks, SweepListener& listener);
  void recall();

  RankChannel& channel_;
  std::vector<int> idle_;  // ranks without a task
};

// On the other ranks: runs what rank 0 sends until that sends it home.
void serve_tasks(RankChannel& channel);

}  // namespace alchemist
