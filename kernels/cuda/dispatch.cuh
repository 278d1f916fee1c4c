// From values known at run time to template arguments.
#pragma once

#include <string>
#include <type_traits>

#include "sim/base/error.h"

namespace alchemist::cuda {

// Calls `body` with the head dimension as an integral constant. ConfigError for one that no kernel was compiled for.
template <typename Body>
void with_head_dim(int head_dim, const Body& body) {
  switch (head_dim) {
    case 32:
      return body(std::integral_constant<int, 32>());
    case 64:
      return body(std::integral_constant<int, 64>());
    case 128:
      return body(std::integral_constant<int, 128>());
    default:
      throw ConfigError("CUDA attention: head_dim is " + std::to_string(head_dim) +
                        ", kernels exist for 32, 64 and 128");
  }
}

}  // namespace alchemist::cuda
