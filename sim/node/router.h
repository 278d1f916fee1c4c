// Chooses the replica that serves a request.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sim/base/events.h"
#include "sim/node/node.h"

namespace alchemist {

enum class Routing : std::uint8_t {
  kRoundRobin,   // in turn
  kLeastLoaded,  // fewest requests running and waiting; ties: in turn
  // Least work: tokens to compute before the first one, of prompts that come before and of its own without the cached
  // prefix, and a share of those that decode beside it (the weighted sum of prefill and active blocks by which NVIDIA's
  // Dynamo chooses). Ties: fewest requests.
  kPrefixAware,
};

struct RoutingName {
  std::string_view name;
  Routing routing;
};
// All of them, by the names that experiments use.
inline constexpr RoutingName kRoutings[] = {{"round_robin", Routing::kRoundRobin},
                                            {"least_loaded", Routing::kLeastLoaded},
                                            {"prefix_aware", Routing::kPrefixAware}};

class Router {
 public:
  explicit Router(Routing routing) : routing_(routing) {}
  // Index into `nodes`, which is not empty.
  std::size_t choose(const Arrival& arrival, std::span<const Node* const> nodes);

 private:
  Routing routing_;
  std::size_t next_ = 0;
};

}  // namespace alchemist
