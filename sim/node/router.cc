#include "sim/node/router.h"

namespace alchemist {

std::size_t Router::choose(const Arrival& arrival, std::span<const Node* const> nodes) {
  const std::size_t first = next_;
  next_ = (next_ + 1) % nodes.size();
  if (routing_ == Routing::kRoundRobin || nodes.size() == 1) return first;

  std::size_t best = first;
  std::int32_t best_hit = -1;
  std::int32_t best_load = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::size_t candidate = (first + i) % nodes.size();
    const Scheduler& scheduler = nodes[candidate]->scheduler();
    const std::int32_t load = scheduler.running() + scheduler.waiting();
    const std::int32_t hit =
        routing_ == Routing::kPrefixAware ? scheduler.cached_prefix_tokens(arrival.content, arrival.prompt_tokens) : 0;
    if (hit > best_hit || (hit == best_hit && load < best_load)) {
      best = candidate;
      best_hit = hit;
      best_load = load;
    }
  }
  return best;
}

}  // namespace alchemist
