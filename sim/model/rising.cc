#include "sim/model/rising.h"

#include <cstddef>

namespace alchemist {

std::vector<std::pair<double, double>> rising(std::vector<std::pair<double, double>> points) {
  struct Pool {
    double sum = 0;
    std::size_t count = 0;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::vector<Pool> pools;
  for (const auto& [size, time] : points) {
    pools.push_back({time, 1});
    while (pools.size() > 1 && pools[pools.size() - 2].mean() > pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum;
      pools.back().count += last.count;
    }
  }
  auto point = points.begin();
  for (const Pool& pool : pools) {
    for (std::size_t i = 0; i < pool.count; ++i) (point++)->second = pool.mean();
  }
  return points;
}

}  // namespace alchemist
