#include "kernels/rotary.h"

namespace alchemist::cpu {

template <class T>
void rotary(const Rotary<T>& call) {
  const std::int64_t half = call.head_dim / 2;
  const T direction = call.inverse ? -1 : 1;
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* cosine = call.cosine + call.positions[i] * half;
    const T* sine = call.sine + call.positions[i] * half;
    for (std::int64_t h = 0; h < call.heads; ++h) {
      T* low = call.x + i * call.row_stride + h * call.head_dim;
      T* high = low + half;
      for (std::int64_t j = 0; j < half; ++j) {
        const T a = low[j], b = high[j], s = direction * sine[j];
        low[j] = a * cosine[j] - b * s;
        high[j] = b * cosine[j] + a * s;
      }
    }
  }
}

template void rotary(const Rotary<float>&);
template void rotary(const Rotary<double>&);

}  // namespace alchemist::cpu
