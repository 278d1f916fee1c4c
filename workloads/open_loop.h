// Requests whose arrival times do not depend on the system that serves them.
#pragma once

#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include "sim/base/workload.h"
#include "workloads/arrivals.h"
#include "workloads/conversations.h"
#include "workloads/spec.h"

namespace alchemist {

// One conversation in progress, of a generated workload.
struct ActiveConversation {
  std::vector<Turn> turns;
  std::uint64_t session = 0;
  std::uint32_t next_turn = 0;
  std::int32_t history = 0;  // tokens of all turns before next_turn

  bool over() const { return next_turn == turns.size(); }
  // The request of the next turn, which becomes history. Precondition: !over().
  WorkloadRequest take_turn(Time arrival);
};

// Identity of what a session says, for prefix sharing.
std::uint64_t session_content(std::uint64_t session);

// Keeps only conversations in progress: memory does not grow with requests already given out. See SessionSpec for who
// sends the request that arrives.
class OpenLoopSource : public WorkloadSource {
 public:
  OpenLoopSource(const WorkloadSpec& spec, std::uint64_t seed);
  std::optional<Time> peek() const override { return next_arrival_; }
  WorkloadRequest next() override;
  void on_finished(SessionId, std::int32_t, Time) override {}
  bool exhausted() const override { return !next_arrival_; }
  std::optional<std::int64_t> total_requests() const override { return limit_; }

 private:
  struct Ready {
    Time at;
    std::uint64_t order;  // breaks ties
    std::size_t slot;
    bool operator>(const Ready& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  void advance();
  WorkloadRequest request_at(Time now);
  std::size_t begin_conversation();
  void warm_up(double rate);

  std::unique_ptr<ArrivalProcess> arrivals_;
  std::unique_ptr<ConversationSampler> conversations_;
  std::optional<SessionSpec> sessions_;
  std::optional<std::int64_t> limit_;
  std::optional<Time> end_;
  std::optional<Time> next_arrival_;
  std::int64_t given_ = 0;
  std::uint64_t next_session_ = 0;
  std::uint64_t next_order_ = 0;
  std::vector<ActiveConversation> slots_;
  std::vector<std::size_t> free_slots_;
  std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready_;
};

}  // namespace alchemist
