// Steps of decodes alone, which are the same calls every time but for the tables that they read.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "kernels/device.h"

namespace alchemist {

class DecodeSteps {
 public:
  // What the arguments of a step's calls depend on.
  struct Shape {
    std::int64_t sequences = 0;
    std::int32_t max_keys = 0;  // as rounded by key_limit()
    bool head = false;          // tokens are sampled
    std::array<const void*, 6> tables = {};

    auto operator<=>(const Shape&) const = default;
  };

  static constexpr std::size_t kMostShapes = 256;  // a captured step takes about a megabyte

  explicit DecodeSteps(DeviceMemory& device) : device_(device) {}

  // Attention divides its work by the longest context: by powers of two, so that a longer one is seldom another shape.
  static std::int32_t key_limit(std::int32_t max_keys) {
    constexpr std::uint32_t kLeast = 256;
    return static_cast<std::int32_t>(std::bit_ceil(std::max(kLeast, static_cast<std::uint32_t>(max_keys))));
  }

  // `calls`: those of a step of this shape, as RepeatedCalls takes them.
  void run(const Shape& shape, const std::function<void()>& calls) {
    if (steps_.size() == kMostShapes && !steps_.contains(shape)) steps_.clear();
    std::unique_ptr<RepeatedCalls>& step = steps_[shape];
    if (!step) step = device_.repeated_calls();
    step->run(calls);
  }
  void forget() { steps_.clear(); }

 private:
  DeviceMemory& device_;
  std::map<Shape, std::unique_ptr<RepeatedCalls>> steps_;
};

}  // namespace alchemist
