#include "kernels/cpu/product.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/blas.h"
#include "sim/base/check.h"

namespace alchemist::cpu {
namespace {

// What follows was measured with OpenBLAS 0.3.21 and its kernels for AVX-512 and AVX2 (SkylakeX, Haswell, Zen), over
// the products of a model whose weights stay in the cache.

// So few rows are multiplied one by one: a product of matrices first copies all of b, which takes two to five times as
// long. At four rows the two are level; with weights that come from memory one by one loses 15 % at three rows already.
constexpr std::int64_t kMostSingleRows = 3;

// The kernels take rows by four, and one to three that are left over cost more than four: up to 45 % of a product of
// few rows. Above kMostPaddedRows the copies that padding takes cost as much as the rows left over.
constexpr std::int64_t kRowsAtOnce = 4;
constexpr std::int64_t kMostPaddedRows = 48;

constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;  // cblas.h

int to_int(std::int64_t value) {
  check(value >= 0 && value <= INT32_MAX, "a matrix dimension fits BLAS");
  return static_cast<int>(value);
}

void blas_product(const Product<float>& p) {
  blas()->sgemm(kRowMajor, p.transpose_a ? kTranspose : kNoTranspose, p.transpose_b ? kTranspose : kNoTranspose,
                to_int(p.m), to_int(p.n), to_int(p.k), p.alpha, p.a, to_int(p.a_stride), p.b, to_int(p.b_stride),
                p.beta, p.c, to_int(p.c_stride));
}

// Each row of c is op(b)^T times the row of a.
void product_by_rows(const Product<float>& p) {
  const int rows = to_int(p.transpose_b ? p.n : p.k), columns = to_int(p.transpose_b ? p.k : p.n);
  for (std::int64_t i = 0; i < p.m; ++i) {
    blas()->sgemv(kRowMajor, p.transpose_b ? kNoTranspose : kTranspose, rows, columns, p.alpha, p.b, to_int(p.b_stride),
                  p.a + i * p.a_stride, 1, p.beta, p.c + i * p.c_stride, 1);
  }
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
  const bool terms = p.k > 0;  // without any, sgemv leaves c as it is
  if (!p.transpose_a && terms && p.m <= kMostSingleRows) {
    product_by_rows(p);
  } else if (!p.transpose_a && p.m % kRowsAtOnce != 0 && p.m <= kMostPaddedRows) {
    padded_product(p);
  } else {
    blas_product(p);
  }
}

template void plain_product(const Product<float>&);
template void plain_product(const Product<double>&);

}  // namespace alchemist::cpu
