#include "sim/engine/feedback_book.h"

#include <algorithm>
#include <vector>

#include "sim/base/check.h"

namespace alchemist {

std::optional<Duration> FeedbackBook::draw_for(SessionId session, std::int32_t turn) const {
  const std::uint64_t request = mix64(session.value(), static_cast<std::uint64_t>(turn));
  BriefStream stream(mix64(seed_, request), "feedback");
  const bool comes = stream.uniform() < config_.share;
  const Duration delay = draw(config_.delay, stream);
  return comes ? std::optional(delay) : std::nullopt;
}

std::optional<FeedbackBook::Due> FeedbackBook::finished(const RequestOutcome& outcome) {
  const auto expected = expected_.find(outcome.id);
  if (expected == expected_.end()) {
    observer_.on_request_outcome(outcome);
    return std::nullopt;
  }
  Due due{outcome.finished + expected->second.delay,
          {outcome.id, outcome.session, outcome.prompt_tokens, outcome.output_tokens}};
  due.feedback.content = expected->second.content;
  expected_.erase(expected);
  awaiting_training_.emplace(outcome.id, outcome);
  return due;
}

void FeedbackBook::trained(const TrainedSample& sample, Time at) {
  const auto outcome = awaiting_training_.find(sample.request);
  check(outcome != awaiting_training_.end(), "nothing is trained twice, and only what has feedback");
  outcome->second.trained_at = at;
  outcome->second.version_lag = sample.version_lag;
  observer_.on_request_outcome(outcome->second);
  awaiting_training_.erase(outcome);
}

void FeedbackBook::finish() {
  std::vector<RequestId> left;
  for (const auto& [id, outcome] : awaiting_training_) left.push_back(id);
  std::sort(left.begin(), left.end());
  for (const RequestId id : left) observer_.on_request_outcome(awaiting_training_.at(id));
  awaiting_training_.clear();
}

}  // namespace alchemist
