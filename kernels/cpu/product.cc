#include "kernels/cpu/product.h"

#include <algorithm>

#include "kernels/cpu/blas.h"
#include "sim/base/check.h"

namespace alchemist::cpu {

template <class T>
void plain_product(const Product<T>& p) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    T* c = p.c + i * p.c_stride;
    for (std::int64_t j = 0; j < p.n; ++j) c[j] = p.beta == 0 ? T(0) : p.beta * c[j];
    for (std::int64_t l = 0; l < p.k; ++l) {
      const T a = p.alpha * (p.transpose_a ? p.a[l * p.a_stride + i] : p.a[i * p.a_stride + l]);
      if (p.transpose_b) {
        for (std::int64_t j = 0; j < p.n; ++j) c[j] += a * p.b[j * p.b_stride + l];
      } else {
        for (std::int64_t j = 0; j < p.n; ++j) c[j] += a * p.b[l * p.b_stride + j];
      }
    }
  }
}

template <>
void product(const Product<double>& p) {
  plain_product(p);
}

template <>
void product(const Product<float>& p) {
  if (p.m == 0 || p.n == 0) return;
  if (!blas()) {
    plain_product(p);
    return;
  }
  constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
  const auto to_int = [](std::int64_t value) {
    check(value >= 0 && value <= INT32_MAX, "a matrix dimension fits BLAS");
    return static_cast<int>(value);
  };
  blas()->sgemm(kRowMajor, p.transpose_a ? kTranspose : kNoTranspose, p.transpose_b ? kTranspose : kNoTranspose,
                to_int(p.m), to_int(p.n), to_int(p.k), p.alpha, p.a, to_int(p.a_stride), p.b, to_int(p.b_stride),
                p.beta, p.c, to_int(p.c_stride));
}

template void plain_product(const Product<float>&);
template void plain_product(const Product<double>&);

}  // namespace alchemist::cpu
