#include "kernels/residual.h"

namespace alchemist::cpu {

template <class T>
void residual_add(const ResidualAdd<T>& call) {
  for (std::int64_t i = 0; i < call.count; ++i) call.y[i] = call.a[i] + call.b[i];
}

template void residual_add(const ResidualAdd<float>&);
template void residual_add(const ResidualAdd<double>&);

}  // namespace alchemist::cpu
