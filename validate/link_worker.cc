#include "validate/link_worker.h"

#include <algorithm>
#include <utility>

namespace alchemist {

LinkWorker::LinkWorker(Inbox& inbox, DeviceMemory& device, CopyDirection direction, std::optional<LinkPace> pace)
    : inbox_(inbox), device_(device), direction_(direction), pace_(pace), thread_([this] { run(); }) {}

LinkWorker::~LinkWorker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LinkWorker::submit(std::uint64_t tag, std::vector<CopySegment> segments) {
  Job job;
  job.done.tag = tag;
  job.done.start = inbox_.clock().now();
  job.ready = job.done.start + (pace_ ? pace_->latency : Duration());
  job.segments = std::move(segments);
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void LinkWorker::wait_until(std::unique_lock<std::mutex>& lock, Time when) {
  changed_.wait_until(lock, inbox_.clock().point_of(when), [this] { return stop_; });
}

void LinkWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    // All have the same latency, so that the first is ready when any is, unless its turn has passed to the end.
    const auto ready = std::min_element(jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) {
                         return a.ready < b.ready;
                       })->ready;
    const auto due = [&](const Job& job) { return job.ready <= std::max(ready, inbox_.clock().now()); };
    const auto next = std::find_if(jobs_.begin(), jobs_.end(), due);
    Job job = std::move(*next);
    jobs_.erase(next);
    wait_until(lock, job.ready);
    if (stop_) return;
    const std::int64_t slice = pace_ ? kPacedSlice : jobs_.empty() ? kLoneSlice : kSlice;
    lock.unlock();
    copy_slice(job, slice);
    lock.lock();
    if (pace_) wait_until(lock, free_at_);
    if (stop_) return;
    if (!job.done.error && job.next < job.segments.size()) {
      jobs_.push_back(std::move(job));
      continue;
    }
    job.done.end = inbox_.clock().now();
    inbox_.post(job.done);
  }
}

void LinkWorker::copy_slice(Job& job, std::int64_t slice) {
  std::int64_t left = slice;
  try {
    while (left > 0 && job.next < job.segments.size()) {
      const CopySegment& segment = job.segments[job.next];
      const std::int64_t bytes = std::min(left, segment.bytes - job.offset);
      device_.link_copy(direction_, segment.to + job.offset, segment.from + job.offset, bytes);
      job.offset += bytes;
      left -= bytes;
      if (job.offset < segment.bytes) continue;
      ++job.next;
      job.offset = 0;
    }
    device_.link_wait(direction_);
  } catch (...) { job.done.error = std::current_exception(); }
  if (!pace_) return;
  const Time begins = std::max({free_at_, job.ready});
  free_at_ = begins + Duration::seconds(static_cast<double>(slice - left) / pace_->bandwidth);
}

}  // namespace alchemist
