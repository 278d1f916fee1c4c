#include "workloads/closed_loop.h"

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {

ClosedLoopSource::ClosedLoopSource(const WorkloadSpec& spec, std::uint64_t seed) : limit_(spec.requests) {
  const auto& generated = std::get<GeneratedWorkload>(spec.source);
  if (!generated.sessions) throw ConfigError("a closed loop needs sessions with a think time");
  conversations_ = make_conversations(generated, seed);
  if (spec.duration) end_ = Time() + *spec.duration;
  users_.resize(static_cast<std::size_t>(std::get<ClosedLoopArrivals>(generated.arrivals).concurrent));
  for (std::size_t user = 0; user < users_.size(); ++user) begin_conversation(user, Time());
}

void ClosedLoopSource::begin_conversation(std::size_t user, Time from) {
  ActiveConversation& conversation = users_[user];
  conversations_->draw(conversation.turns);
  conversation.session = next_session_++;
  conversation.next_turn = 0;
  conversation.history = 0;
  pending_.push({from + conversation.turns.front().think, user});
}

std::optional<Time> ClosedLoopSource::peek() const {
  if ((limit_ && given_ >= *limit_) || pending_.empty()) return std::nullopt;
  if (end_ && pending_.top().at >= *end_) return std::nullopt;
  return pending_.top().at;
}

WorkloadRequest ClosedLoopSource::next() {
  check(peek().has_value(), "no request is pending");
  const Pending pending = pending_.top();
  pending_.pop();
  // Requests that are refused come back at once: without a think time the clock would stand still.
  constexpr std::int64_t kMostAtOnce = 1'000'000;
  at_once_ = pending.at == latest_ ? at_once_ + 1 : 0;
  latest_ = pending.at;
  if (at_once_ > kMostAtOnce) {
    throw ConfigError(
        "a closed loop without think time, all of whose requests are refused at once: expected a think "
        "time above 0, or prompts and answers within serving.max_model_len");
  }
  ++given_;
  ActiveConversation& conversation = users_[pending.user];
  waiting_.emplace(conversation.session, pending.user);
  return conversation.take_turn(pending.at);
}

void ClosedLoopSource::on_finished(SessionId session, std::int32_t turn, Time now) {
  const auto found = waiting_.find(session.value());
  check(found != waiting_.end(), "an answer to a turn that was not asked");
  const std::size_t user = found->second;
  waiting_.erase(found);
  ActiveConversation& conversation = users_[user];
  check(conversation.next_turn == static_cast<std::uint32_t>(turn) + 1, "turns are answered in order");
  if (conversation.over()) return begin_conversation(user, now);
  pending_.push({now + conversation.turns[conversation.next_turn].think, user});
}

bool ClosedLoopSource::exhausted() const {
  if (limit_ && given_ >= *limit_) return true;
  return waiting_.empty() && !peek();
}

}  // namespace alchemist
