// Pending events in the order (time, priority, sequence). A 4-ary heap: half the levels of a binary one, and the four
// children share a cache line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "sim/base/time.h"

namespace alchemist {

// Events at the same time happen in this order.
enum class EventPriority : std::uint8_t {
  kFeedback,  // first, so that a step that ends now can train on what has come by now
  kCopyEnd,   // memory and activations that come free now count for what is planned now
  kStepEnd,   // before kWake: a node that is woken sees its finished work; likewise of steps that start late
  kWake,      // last, so that a node acts once on everything that happened at this time
};

template <class Payload>
class EventQueue {
 public:
  struct Event {
    Time time;
    EventPriority priority;
    Payload payload;
  };

  bool empty() const { return size() == 0; }
  std::size_t size() const { return heap_.size() - (hole_ ? 1 : 0); }
  // Time of the next event; Time::max() if there is none.
  Time next_time() const { return empty() ? Time::max() : Time::from_ns(heap_[next()].time_ns); }

  void push(Time time, EventPriority priority, Payload payload) {
    const std::uint64_t order = (static_cast<std::uint64_t>(priority) << kSequenceBits) | sequence_++;
    Entry entry{time.count_ns(), order, std::move(payload)};
    if (std::exchange(hole_, false)) return sift_down(std::move(entry));
    heap_.push_back(std::move(entry));
    sift_up(heap_.size() - 1);
  }

  // Precondition: not empty.
  Event pop() {
    check(!empty(), "pop() of an empty event queue");
    if (hole_) fill_hole();
    Entry first = std::move(heap_.front());
    hole_ = true;
    return {Time::from_ns(first.time_ns), static_cast<EventPriority>(first.order >> kSequenceBits),
            std::move(first.payload)};
  }

 private:
  static constexpr int kSequenceBits = 56;
  struct Entry {
    std::int64_t time_ns;
    std::uint64_t order;  // priority in the top byte, then the sequence number
    Payload payload;
    bool before(const Entry& other) const {
      return time_ns != other.time_ns ? time_ns < other.time_ns : order < other.order;
    }
  };

  // Where the next event is.
  std::size_t next() const { return hole_ ? least_child(0) : 0; }

  // The children's range is not empty.
  std::size_t least_child(std::size_t i) const {
    const std::size_t first = 4 * i + 1, end = std::min(first + 4, heap_.size());
    std::size_t least = first;
    for (std::size_t c = first + 1; c < end; ++c) {
      if (heap_[c].before(heap_[least])) least = c;
    }
    return least;
  }

  void fill_hole() {
    hole_ = false;
    Entry last = std::move(heap_.back());
    heap_.pop_back();
    if (!heap_.empty()) sift_down(std::move(last));
  }

  void sift_up(std::size_t i) {
    Entry entry = std::move(heap_[i]);
    while (i > 0) {
      const std::size_t parent = (i - 1) / 4;
      if (!entry.before(heap_[parent])) break;
      heap_[i] = std::move(heap_[parent]);
      i = parent;
    }
    heap_[i] = std::move(entry);
  }

  // Puts `entry` in the hole at the root and lets it sink.
  void sift_down(Entry entry) {
    std::size_t i = 0;
    while (4 * i + 1 < heap_.size()) {
      const std::size_t least = least_child(i);
      if (!heap_[least].before(entry)) break;
      heap_[i] = std::move(heap_[least]);
      i = least;
    }
    heap_[i] = std::move(entry);
  }

  std::vector<Entry> heap_;
  // The event popped last has left the root empty: what it leads to is put there, which is near the root anyway.
  bool hole_ = false;
  std::uint64_t sequence_ = 0;
};

}  // namespace alchemist
