// Residual addition. Its backward passes the gradient to both sides and needs no kernel.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

// y[i] = a[i] + b[i]; y may be a or b.
template <class T>
struct ResidualAdd {
  const T* a;
  const T* b;
  T* y;
  std::int64_t count;
};

template <class T>
CallCost cost(const ResidualAdd<T>& call) {
  return {static_cast<double>(call.count), 3 * static_cast<double>(call.count) * sizeof(T)};
}

namespace cpu {
template <class T>
void residual_add(const ResidualAdd<T>& call);
}

namespace cuda {
void residual_add(const ResidualAdd<BFloat16>& call, Stream stream);
}

}  // namespace alchemist
