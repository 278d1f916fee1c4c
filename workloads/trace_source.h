// Replays a trace.
#pragma once

#include <optional>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sim/base/workload.h"
#include "workloads/spec.h"
#include "workloads/trace.h"

namespace alchemist {

// Rows with an arrival time come at it. Rows that follow a previous turn come that long after its answer was complete.
class TraceSource : public WorkloadSource {
 public:
  // Precondition: the trace has arrivals.
  TraceSource(Trace trace, std::optional<std::int64_t> requests, std::optional<Duration> duration);
  std::optional<Time> peek() const override;
  WorkloadRequest next() override;
  void on_finished(SessionId session, std::int32_t turn, Time now) override;
  bool exhausted() const override;
  std::optional<std::int64_t> total_requests() const override;

 private:
  struct Follower {
    Time at;
    std::size_t row;
    bool operator>(const Follower& o) const { return at != o.at ? at > o.at : row > o.row; }
  };
  bool follower_is_next() const;
  void skip_followers();
  WorkloadRequest request_of(const TraceRow& row, Time arrival) const;

  Trace trace_;
  std::optional<std::int64_t> limit_;
  std::optional<Time> end_;
  std::int64_t given_ = 0;
  std::size_t next_row_ = 0;                                 // the next with an arrival time of its own
  std::unordered_map<std::uint64_t, std::size_t> follower_;  // session -> row of its next turn
  std::unordered_set<std::uint64_t> awaited_;                // sessions in service that have a next turn
  std::priority_queue<Follower, std::vector<Follower>, std::greater<>> due_;
};

}  // namespace alchemist
