// The requests that decode on one simulated GPU, all of which advance by one token a step. A step costs the same
// whatever their number: a request is touched when it joins, leaves or ends.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/events.h"

namespace alchemist {

class DecodeBatch {
 public:
  std::int32_t size() const { return static_cast<std::int32_t>(members_.size()); }
  // Sum and maximum over the members of the keys that each attends to in the next step, its own included.
  std::int64_t context_sum() const { return offset_sum_ + size() * (clock_ + 1); }
  std::int64_t context_max() const { return members_.empty() ? 0 : offset_max_ + clock_ + 1; }

  // Calls use(request, computed tokens) for every member, in the order in which they joined.
  template <class Use>
  void for_each(Use&& use) const {
    for (const Member& member : members_) use(member.request, member.offset + clock_);
  }

  // `context` tokens are computed; `remaining` >= 0 tokens are still to come.
  void join(RequestHandle request, std::int64_t context, std::int64_t remaining);
  bool contains(RequestHandle request) const;
  // Takes a member out before its end; returns how many of its tokens are still to come.
  std::int64_t leave(RequestHandle request);

  // One step: every member gets a token.
  void advance() { ++clock_; }
  // Moves the members that have no token to come to `ended` (which is cleared), in the order in which they joined.
  void take_ended(std::vector<RequestHandle>& ended);

 private:
  struct Member {
    RequestHandle request;
    std::int64_t offset;        // computed tokens = offset + clock
    std::int64_t finish_clock;  // its last token comes with this step
  };
  void erase(std::size_t index);

  std::int64_t clock_ = 0;       // steps so far
  std::vector<Member> members_;  // in order of joining
  std::int64_t offset_sum_ = 0;
  std::int64_t offset_max_ = 0;   // valid if there are members
  std::int64_t next_finish_ = 0;  // the least finish_clock; valid if there are members
};

}  // namespace alchemist
