// The heads of a case of attention.
#pragma once

#include <cstdint>

namespace alchemist::cases {

struct Heads {
  std::int32_t heads, kv_heads, dim;
};

}  // namespace alchemist::cases
