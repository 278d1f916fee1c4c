// A fixed number of users, each of whom waits for the answer, thinks, and goes on.
#pragma once

#include <queue>
#include <unordered_map>
#include <vector>

#include "workloads/open_loop.h"

namespace alchemist {

class ClosedLoopSource : public WorkloadSource {
 public:
  ClosedLoopSource(const WorkloadSpec& spec, std::uint64_t seed);
  std::optional<Time> peek() const override;
  WorkloadRequest next() override;
  void on_finished(SessionId session, std::int32_t turn, Time now) override;
  bool exhausted() const override;
  std::optional<std::int64_t> total_requests() const override { return limit_; }

 private:
  struct Pending {
    Time at;
    std::size_t user;  // breaks ties
    bool operator>(const Pending& o) const { return at != o.at ? at > o.at : user > o.user; }
  };
  void begin_conversation(std::size_t user, Time from);

  std::unique_ptr<ConversationSampler> conversations_;
  std::optional<std::int64_t> limit_;
  std::optional<Time> end_;
  std::int64_t given_ = 0;
  std::uint64_t next_session_ = 0;
  Time latest_;               // of the requests given
  std::int64_t at_once_ = 0;  // of them, at that moment
  std::vector<ActiveConversation> users_;
  std::unordered_map<std::uint64_t, std::size_t> waiting_;  // session whose answer is awaited -> user
  std::priority_queue<Pending, std::vector<Pending>, std::greater<>> pending_;
};

}  // namespace alchemist
