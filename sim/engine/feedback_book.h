// Which requests get feedback, when, and what became of it. Drawn from a random stream of its own for every request in
// order of arrival, so that all policies, and both worlds, get feedback on the same ones.
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
      : config_(config), stream_(seed, "feedback"), observer_(observer) {}

  // For the next request in order of arrival: the time from its answer to its feedback; none: there will be none.
  std::optional<Duration> draw_next();
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
  RandomStream stream_;
  RunObserver& observer_;
  std::unordered_map<RequestId, Expected> expected_;                 // on live requests
  std::unordered_map<RequestId, RequestOutcome> awaiting_training_;  // finished, with feedback to come or come
};

}  // namespace alchemist
