#include "kernels/rotary.h"

#include "kernels/cpu/rotate.h"

namespace alchemist::cpu {

template <class T>
void rotary(const Rotary<T>& call) {
  const std::int64_t half = call.head_dim / 2;
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const std::int64_t angles = call.positions[i] * half;
    for (std::int64_t h = 0; h < call.heads; ++h) {
      T* head = call.x + i * call.row_stride + h * call.head_dim;
      rotate<T>(head, head + half, call.cosine + angles, call.sine + angles, call.inverse ? -1 : 1, half);
    }
  }
}

template void rotary(const Rotary<float>&);
template void rotary(const Rotary<double>&);

}  // namespace alchemist::cpu
