// The rotation of one head's pairs, for the operators that rotate.
#pragma once

#include <cstdint>

namespace alchemist::cpu {

// (low[j], high[j]) by the angle of cosine[j], direction * sine[j], for j < half. `direction` is 1 or -1.
template <class T>
void rotate(T* low, T* high, const T* cosine, const T* sine, T direction, std::int64_t half) {
  for (std::int64_t j = 0; j < half; ++j) {
    const T a = low[j], b = high[j], s = direction * sine[j];
    low[j] = a * cosine[j] - b * s;
    high[j] = b * cosine[j] + a * s;
  }
}

}  // namespace alchemist::cpu
