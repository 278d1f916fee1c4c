#include "kernels/random_fill.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace alchemist::cpu {

// By all cores: models have billions of weights.
template <class T>
void random_fill(const RandomFill<T>& call) {
  constexpr std::int64_t kFewestOfAThread = std::int64_t{1} << 22;
  const auto draw = [&call](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::uint64_t bits = mix64(call.stream + static_cast<std::uint64_t>(i));
      call.values[i] = static_cast<T>(call.scale * random_value(call.kind, bits));
    }
  };
  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t share = std::max(kFewestOfAThread, call.count / cores + 1);
  std::vector<std::jthread> threads;
  for (std::int64_t begin = share; begin < call.count; begin += share)
    threads.emplace_back(draw, begin, std::min(begin + share, call.count));
  draw(0, std::min(share, call.count));
}

template void random_fill(const RandomFill<float>&);
template void random_fill(const RandomFill<double>&);

}  // namespace alchemist::cpu
