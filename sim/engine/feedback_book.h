// Which requests get feedback, when, and what became of it. Drawn for each turn of each session by itself, whenever it
// arrives, so that all policies, and both worlds, get feedback on the same ones. (In a closed loop a policy decides
// which turn arrives next.)
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "sim/base/events.h"
#include "sim/base/observer.h"
#include "sim/base/random.h"
#include "sim/node/host.h"
#include "sim/node/training_config.h"

namespace alchemist {

class FeedbackBook {
 public:
  // `observer` outlives the book.
  FeedbackBook(std::uint64_t seed, const FeedbackConfig& config, RunObserver& observer)
      : config_(config), seed_(seed), observer_(observer) {}

  // The time from the answer of this turn to its feedback; none: there will be none.
  std::optional<Duration> draw_for(SessionId session, std::int32_t turn) const;
  // The request is served, and this is when its feedback will come, on what.
  void expect(RequestId request, Duration delay, const PromptContent& content) {
    expected_.emplace(request, Expected{delay, content});
  }

  struct Due {
    Time at;
    Feedback feedback;
  };
  // A request has ended: its feedback, if any will come. Observers are told the outcome when nothing more can happen to
  // the request.
  std::optional<Due> finished(const RequestOutcome& outcome);
  // The step that used the sample ended at `at`.
  void trained(const TrainedSample& sample, Time at);
  // The run is over: what was not trained will not be. In order of arrival.
  void finish();

 private:
  struct Expected {
    Duration delay;  // from the answer on
    PromptContent content;
  };

  FeedbackConfig config_;
  std::uint64_t seed_;
  RunObserver& observer_;
  std::unordered_map<RequestId, Expected> expected_;                 // on live requests
  std::unordered_map<RequestId, RequestOutcome> awaiting_training_;  // finished, with feedback to come or come
};

}  // namespace alchemist
