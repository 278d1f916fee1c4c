#include "kernels/cpu/product.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/blas.h"
#include "sim/base/check.h"

namespace alchemist::cpu {
namespace {

// OpenBLAS's kernels for small products take rows by four: one to three rows that are left over cost more than four.
constexpr std::int64_t kRowsAtOnce = 4;
constexpr std::int64_t kMostPaddedRows = 128;  // above, the rows that are left over matter little

void blas_product(const Product<float>& p) {
  constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
  const auto to_int = [](std::int64_t value) {
    check(value >= 0 && value <= INT32_MAX, "a matrix dimension fits BLAS");
    return static_cast<int>(value);
  };
  blas()->sgemm(kRowMajor, p.transpose_a ? kTranspose : kNoTranspose, p.transpose_b ? kTranspose : kNoTranspose,
                to_int(p.m), to_int(p.n), to_int(p.k), p.alpha, p.a, to_int(p.a_stride), p.b, to_int(p.b_stride),
                p.beta, p.c, to_int(p.c_stride));
}

// The product with rows of zeros below `a`, as many as make the number of rows a multiple of kRowsAtOnce.
void padded_product(const Product<float>& p) {
  thread_local std::vector<float> a, c;
  Product<float> padded = p;
  padded.m = (p.m + kRowsAtOnce - 1) / kRowsAtOnce * kRowsAtOnce;
  a.resize(static_cast<std::size_t>(padded.m * p.k));
  c.resize(static_cast<std::size_t>(padded.m * p.n));
  padded.a = a.data();
  padded.a_stride = p.k;
  padded.c = c.data();
  padded.c_stride = p.n;
  for (std::int64_t i = 0; i < p.m; ++i) {
    std::copy_n(p.a + i * p.a_stride, p.k, a.data() + i * p.k);
    if (p.beta != 0) std::copy_n(p.c + i * p.c_stride, p.n, c.data() + i * p.n);
  }
  std::fill(a.begin() + p.m * p.k, a.end(), 0.0F);
  if (p.beta != 0) std::fill(c.begin() + p.m * p.n, c.end(), 0.0F);
  blas_product(padded);
  for (std::int64_t i = 0; i < p.m; ++i) std::copy_n(c.data() + i * p.n, p.n, p.c + i * p.c_stride);
}

}  // namespace

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
  if (!p.transpose_a && p.m % kRowsAtOnce != 0 && p.m <= kMostPaddedRows) {
    padded_product(p);
  } else {
    blas_product(p);
  }
}

template void plain_product(const Product<float>&);
template void plain_product(const Product<double>&);

}  // namespace alchemist::cpu
