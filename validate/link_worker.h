// One direction of the link: copies that are under way share it, a slice of each in turn. An emulated link is slower
// than the copies themselves: it holds back each slice until a link of that rate would have carried it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "kernels/device.h"
#include "validate/inbox.h"

namespace alchemist {

struct CopySegment {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::int64_t bytes = 0;
};

struct LinkPace {
  double bandwidth = 0;  // bytes/s, of each direction
  Duration latency;      // of a copy before its first byte
};

class LinkWorker {
 public:
  // `device` and `inbox` outlive the worker. Without a pace copies are as fast as the machine.
  LinkWorker(Inbox& inbox, DeviceMemory& device, CopyDirection direction, std::optional<LinkPace> pace);
  // Waits for the slice in progress; the rest is dropped.
  ~LinkWorker();
  LinkWorker(const LinkWorker&) = delete;
  LinkWorker& operator=(const LinkWorker&) = delete;

  void submit(std::uint64_t tag, std::vector<CopySegment> segments);

 private:
  struct Job {
    JobDone done;
    Time ready;  // when its first byte may go
    std::vector<CopySegment> segments;
    std::size_t next = 0;  // segment
    std::int64_t offset = 0;
  };

  void run();
  void copy_slice(Job& job, std::int64_t slice);
  // Waits, unless the worker stops meanwhile.
  void wait_until(std::unique_lock<std::mutex>& lock, Time when);

  // Bytes: small beside a layer; and without a pace, large beside the wait for them, the more so where no other copy
  // waits for its turn.
  static constexpr std::int64_t kPacedSlice = 256 * 1024;
  static constexpr std::int64_t kSlice = 16 * 1024 * 1024;
  static constexpr std::int64_t kLoneSlice = 64 * 1024 * 1024;

  Inbox& inbox_;
  DeviceMemory& device_;
  CopyDirection direction_;
  std::optional<LinkPace> pace_;
  Time free_at_;  // when the emulated link has carried all slices so far
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace alchemist
