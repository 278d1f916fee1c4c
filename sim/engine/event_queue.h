// Pending events in the order (time, priority, sequence). A 4-ary heap: half the levels of a binary one, and the four
// children share a cache line.
#pragma once

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

  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  // Time of the next event; Time::max() if there is none.
  Time next_time() const { return heap_.empty() ? Time::max() : Time::from_ns(heap_.front().time_ns); }

  void push(Time time, EventPriority priority, Payload payload) {
    const std::uint64_t order = (static_cast<std::uint64_t>(priority) << kSequenceBits) | sequence_++;
    heap_.push_back({time.count_ns(), order, std::move(payload)});
    sift_up(heap_.size() - 1);
  }

  // Precondition: not empty.
  Event pop() {
    check(!heap_.empty(), "pop() of an empty event queue");
    Entry first = std::move(heap_.front());
    Entry last = std::move(heap_.back());
    heap_.pop_back();
    if (!heap_.empty()) sift_down(std::move(last));
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
    for (;;) {
      const std::size_t first = 4 * i + 1;
      if (first >= heap_.size()) break;
      std::size_t least = first;
      for (std::size_t c = first + 1; c < first + 4 && c < heap_.size(); ++c) {
        if (heap_[c].before(heap_[least])) least = c;
      }
      if (!heap_[least].before(entry)) break;
      heap_[i] = std::move(heap_[least]);
      i = least;
    }
    heap_[i] = std::move(entry);
  }

  std::vector<Entry> heap_;
  std::uint64_t sequence_ = 0;
};

}  // namespace alchemist
