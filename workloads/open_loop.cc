#include "workloads/open_loop.h"

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/random.h"
#include "workloads/workload_source.h"

namespace alchemist {

std::uint64_t session_content(std::uint64_t session) { return mix64(hash_name("workload.session"), session); }

WorkloadRequest ActiveConversation::take_turn(Time arrival) {
  const Turn& turn = turns[next_turn];
  WorkloadRequest request;
  request.arrival = arrival;
  request.session = SessionId(session);
  request.turn = static_cast<std::int32_t>(next_turn);
  request.prompt_tokens = history + turn.new_tokens;
  request.output_tokens = turn.output_tokens;
  request.content.content_id = session_content(session);
  history = request.prompt_tokens + request.output_tokens;
  ++next_turn;
  return request;
}

OpenLoopSource::OpenLoopSource(const WorkloadSpec& spec, std::uint64_t seed) : limit_(spec.requests) {
  const auto& generated = std::get<GeneratedWorkload>(spec.source);
  arrivals_ = make_arrivals(generated.arrivals, seed, limit_);
  conversations_ = make_conversations(generated, seed);
  sessions_ = generated.sessions;
  if (spec.duration) end_ = Time() + *spec.duration;
  if (sessions_ && sessions_->warm_up > Duration()) {
    const auto rate = mean_rate(generated.arrivals);
    if (!rate) throw ConfigError("warm_up of sessions needs arrivals with a known rate: set the rate of the trace");
    warm_up(*rate);
  }
  advance();
}

void OpenLoopSource::advance() {
  next_arrival_.reset();
  if (limit_ && given_ >= *limit_) return;
  next_arrival_ = arrivals_->next();
  if (next_arrival_ && end_ && *next_arrival_ >= *end_) next_arrival_.reset();
}

WorkloadRequest OpenLoopSource::next() {
  check(next_arrival_.has_value(), "no request is pending");
  const WorkloadRequest request = request_at(*next_arrival_);
  ++given_;
  advance();
  return request;
}

WorkloadRequest OpenLoopSource::request_at(Time now) {
  std::size_t slot = 0;
  if (!ready_.empty() && ready_.top().at <= now) {
    slot = ready_.top().slot;
    ready_.pop();
  } else {
    slot = begin_conversation();
  }
  ActiveConversation& conversation = slots_[slot];
  const WorkloadRequest request = conversation.take_turn(now);
  if (conversation.over()) {
    free_slots_.push_back(slot);
  } else {
    const Duration answer = sessions_->answer_delay + sessions_->answer_time_per_token * request.output_tokens;
    ready_.push({now + answer + conversation.turns[conversation.next_turn].think, next_order_++, slot});
  }
  return request;
}

std::size_t OpenLoopSource::begin_conversation() {
  if (free_slots_.empty()) {
    free_slots_.push_back(slots_.size());
    slots_.emplace_back();
  }
  const std::size_t slot = free_slots_.back();
  free_slots_.pop_back();
  ActiveConversation& conversation = slots_[slot];
  conversations_->draw(conversation.turns);
  conversation.session = next_session_++;
  conversation.next_turn = 0;
  conversation.history = 0;
  return slot;
}

// Evenly spaced at the mean rate: what the population of conversations settles to hardly depends on the gaps.
void OpenLoopSource::warm_up(double rate) {
  const double seconds = sessions_->warm_up.in_seconds();
  constexpr double kMost = 1e8;
  if (seconds * rate > kMost)
    throw ConfigError("warm_up of sessions: expected at most 10^8 requests at the given rate");
  const auto count = static_cast<std::int64_t>(seconds * rate);
  for (std::int64_t i = 0; i < count; ++i) {
    request_at(Time() - sessions_->warm_up + Duration::seconds(static_cast<double>(i) / rate));
  }
}

}  // namespace alchemist
