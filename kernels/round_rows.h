// Rounds accumulated values to storage: the gradients of keys and values, once all queries have added to them.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

// to[i, j] = from[i, j], rounded to nearest, ties to even.
template <class T>
struct RoundRows {
  const Accumulator<T>* from;  // [rows, width], contiguous
  T* to;                       // [rows, width], rows `to_stride` elements apart
  std::int64_t rows;
  std::int64_t width;
  std::int64_t to_stride;
};

namespace cpu {
template <class T>
void round_rows(const RoundRows<T>& call);
}

namespace cuda {
void round_rows(const RoundRows<BFloat16>& call, Stream stream);
}

}  // namespace alchemist
