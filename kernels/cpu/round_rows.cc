#include "kernels/round_rows.h"

#include <algorithm>

namespace alchemist::cpu {

template <class T>
void round_rows(const RoundRows<T>& call) {
  for (std::int64_t i = 0; i < call.rows; ++i) {
    std::copy_n(call.from + i * call.width, call.width, call.to + i * call.to_stride);
  }
}

template void round_rows(const RoundRows<float>&);
template void round_rows(const RoundRows<double>&);

}  // namespace alchemist::cpu
