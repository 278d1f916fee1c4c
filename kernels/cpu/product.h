// The product of two matrices, which every other product on the CPU is made of.
#pragma once

#include <cstdint>

namespace alchemist::cpu {

// c = alpha * op(a) op(b) + beta * c, all row by row; op(a) is [m, k], op(b) is [k, n]. beta = 0 overwrites c, whatever
// it held.
template <class T>
struct Product {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  T alpha = 1;
  const T* a = nullptr;
  std::int64_t a_stride = 0;
  const T* b = nullptr;
  std::int64_t b_stride = 0;
  T beta = 0;
  T* c = nullptr;
  std::int64_t c_stride = 0;
};

// The specification: three loops.
template <class T>
void plain_product(const Product<T>& p);

// The same terms added in the same order, so the same bits, but block by block of b: several times as fast where b is
// transposed or does not fit in a cache.
template <class T>
void blocked_product(const Product<T>& p);

// float: OpenBLAS where it is found. double: our own loops, always.
template <class T>
void product(const Product<T>& p);

}  // namespace alchemist::cpu
