#include "sim/node/sample_queue.h"

#include <algorithm>
#include <cstddef>

namespace alchemist {

void SampleQueue::add(const Feedback& sample) {
  ready_.push_back(sample);
  tokens_ += sample.tokens();
}

std::vector<Feedback> SampleQueue::take(std::int64_t batch_tokens, SampleOrder order,
                                        const std::function<double(const Feedback&)>& saved_share) {
  // When training does not keep up, the queue grows without end; what came long ago has lost its record by now.
  constexpr std::size_t kLookBack = 1'024;
  std::vector<std::size_t> places;
  const bool recorded_first = order == SampleOrder::kRecorded;
  const std::size_t first = recorded_first && ready_.size() > kLookBack ? ready_.size() - kLookBack : 0;
  for (std::size_t i = first; i < ready_.size(); ++i) places.push_back(i);
  if (recorded_first) {
    std::vector<double> share(ready_.size());
    for (const std::size_t i : places) share[i] = saved_share(ready_[i]);
    std::sort(places.begin(), places.end(),
              [&](std::size_t a, std::size_t b) { return share[a] != share[b] ? share[a] > share[b] : a > b; });
  }
  std::vector<Feedback> taken;
  std::int64_t tokens = 0;
  for (const std::size_t i : places) {
    if (tokens >= batch_tokens) break;
    taken.push_back(ready_[i]);
    tokens += ready_[i].tokens();
    ready_[i].prompt_tokens = 0;  // taken
  }
  std::erase_if(ready_, [](const Feedback& sample) { return sample.prompt_tokens == 0; });
  tokens_ -= tokens;
  return taken;
}

// The latest are those of which most is recorded.
void SampleQueue::put_back(std::span<const Feedback> samples, SampleOrder order) {
  ready_.insert(order == SampleOrder::kOldest ? ready_.begin() : ready_.end(), samples.begin(), samples.end());
  for (const Feedback& sample : samples) tokens_ += sample.tokens();
}

}  // namespace alchemist
