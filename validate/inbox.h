// What the threads that work tell the thread that decides.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>

#include "validate/wall_clock.h"

namespace alchemist {

// A job is over. `tag` is the one that it was submitted with.
struct JobDone {
  std::uint64_t tag = 0;
  Time start;
  Time end;
  double probe_us = 0;       // of the machine's speed (machine_speed.h), right before it; 0: not measured
  std::exception_ptr error;  // null: it went well
};

class Inbox {
 public:
  explicit Inbox(const WallClock& clock) : clock_(clock) {}

  void post(const JobDone& done) {
    {
      const std::lock_guard lock(mutex_);
      messages_.push_back(done);
    }
    arrived_.notify_one();
  }
  // The oldest message; none if there is none until `deadline`.
  std::optional<JobDone> wait_until(Time deadline) {
    std::unique_lock lock(mutex_);
    const auto has_message = [this] { return !messages_.empty(); };
    if (deadline == Time::max()) {
      arrived_.wait(lock, has_message);
    } else {
      arrived_.wait_until(lock, clock_.point_of(deadline), has_message);
    }
    if (messages_.empty()) return std::nullopt;
    const JobDone first = messages_.front();
    messages_.pop_front();
    return first;
  }
  const WallClock& clock() const { return clock_; }

 private:
  const WallClock& clock_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<JobDone> messages_;
};

}  // namespace alchemist
