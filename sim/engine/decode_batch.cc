#include "sim/engine/decode_batch.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

void DecodeBatch::join(RequestHandle request, std::int64_t context, std::int64_t remaining) {
  const Member member{request, context - clock_, clock_ + remaining};
  offset_max_ = members_.empty() ? member.offset : std::max(offset_max_, member.offset);
  next_finish_ = members_.empty() ? member.finish_clock : std::min(next_finish_, member.finish_clock);
  offset_sum_ += member.offset;
  members_.push_back(member);
}

bool DecodeBatch::contains(RequestHandle request) const {
  return std::any_of(members_.begin(), members_.end(), [&](const Member& m) { return m.request == request; });
}

std::int64_t DecodeBatch::leave(RequestHandle request) {
  const auto member =
      std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.request == request; });
  check(member != members_.end(), "only a member leaves");
  const std::int64_t remaining = member->finish_clock - clock_;
  erase(static_cast<std::size_t>(member - members_.begin()));
  return remaining;
}

void DecodeBatch::take_ended(std::vector<RequestHandle>& ended) {
  ended.clear();
  if (members_.empty() || next_finish_ > clock_) return;
  for (std::size_t i = 0; i < members_.size();) {
    if (members_[i].finish_clock > clock_) {
      ++i;
      continue;
    }
    ended.push_back(members_[i].request);
    erase(i);
  }
}

// Linear in the batch, which is small (max_num_seqs) and contiguous; a batch changes far less often than it steps.
void DecodeBatch::erase(std::size_t index) {
  offset_sum_ -= members_[index].offset;
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(index));
  if (members_.empty()) return;
  offset_max_ = members_.front().offset;
  next_finish_ = members_.front().finish_clock;
  for (const Member& member : members_) {
    offset_max_ = std::max(offset_max_, member.offset);
    next_finish_ = std::min(next_finish_, member.finish_clock);
  }
}

}  // namespace alchemist
