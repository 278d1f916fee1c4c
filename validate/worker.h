// A thread that runs one job after the other: the stream of a device's kernels.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "validate/inbox.h"

namespace alchemist {

class Worker {
 public:
  // `inbox` outlives the worker. `probes`: measures the machine's speed before each job.
  explicit Worker(Inbox& inbox, bool probes);
  // Waits for the job in progress; later ones are dropped.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The job has ended when it returns; what it throws is told with its end.
  void submit(std::uint64_t tag, std::function<void()> job);

 private:
  void run();

  Inbox& inbox_;
  bool probes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::uint64_t, std::function<void()>>> jobs_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace alchemist
