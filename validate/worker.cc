#include "validate/worker.h"

#include "validate/machine_speed.h"

namespace alchemist {

Worker::Worker(Inbox& inbox, bool probes) : inbox_(inbox), probes_(probes), thread_([this] { run(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Worker::submit(std::uint64_t tag, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.emplace_back(tag, std::move(job));
  }
  changed_.notify_one();
}

void Worker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    const auto [tag, job] = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    JobDone done;
    done.tag = tag;
    if (probes_) done.probe_us = speed_probe_us();
    done.start = inbox_.clock().now();
    try {
      job();
    } catch (...) { done.error = std::current_exception(); }
    done.end = inbox_.clock().now();
    inbox_.post(done);
    lock.lock();
  }
}

}  // namespace alchemist
