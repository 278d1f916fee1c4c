// Several observers as one. They are told of every token and every piece of training: lists in a list would take longer
// than most of what is in them.
#pragma once

#include <initializer_list>
#include <vector>

#include "sim/base/observer.h"

namespace alchemist {

// Tells each of its observers, in the order given; they must outlive the list.
class ObserverList final : public RunObserver {
 public:
  ObserverList() = default;
  ObserverList(std::initializer_list<RunObserver*> observers) {
    for (RunObserver* o : observers) add(o);
  }
  // Of a list, those that are in it now.
  void add(RunObserver* observer) {
    if (const auto* list = dynamic_cast<const ObserverList*>(observer)) {
      observers_.insert(observers_.end(), list->observers_.begin(), list->observers_.end());
    } else {
      observers_.push_back(observer);
    }
  }

  void on_request_arrived(ReplicaId replica, RequestId request, Time now) override {
    for (RunObserver* o : observers_) o->on_request_arrived(replica, request, now);
  }
  void on_request_outcome(const RequestOutcome& outcome) override {
    for (RunObserver* o : observers_) o->on_request_outcome(outcome);
  }
  void on_preemption(ReplicaId replica, RequestId request, Time now) override {
    for (RunObserver* o : observers_) o->on_preemption(replica, request, now);
  }
  void on_serving_span(const ServingSpan& span) override {
    for (RunObserver* o : observers_) o->on_serving_span(span);
  }
  void on_token_gap(Time now, Duration gap, std::int64_t count) override {
    for (RunObserver* o : observers_) o->on_token_gap(now, gap, count);
  }
  void on_memory(ReplicaId replica, Time now, const MemoryUse& use) override {
    for (RunObserver* o : observers_) o->on_memory(replica, now, use);
  }
  void on_transfer(const TransferSpan& span) override {
    for (RunObserver* o : observers_) o->on_transfer(span);
  }
  void on_training_span(const TrainingSpan& span) override {
    for (RunObserver* o : observers_) o->on_training_span(span);
  }
  void on_training_step(const TrainingStep& step) override {
    for (RunObserver* o : observers_) o->on_training_step(step);
  }

 private:
  std::vector<RunObserver*> observers_;
};

}  // namespace alchemist
