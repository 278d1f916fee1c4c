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

// A block of b that stays in the L1 cache.
constexpr std::int64_t kBlockRows = 64, kBlockColumns = 64;

// c[j] += sum over l < rows of a[l] b[l, j], one term after the other; a's are `a_stride` apart.
template <class T>
void add_rows(T* c, std::int64_t columns, T alpha, const T* a, std::int64_t a_stride, const T* b, std::int64_t b_stride,
              std::int64_t rows) {
  std::int64_t l = 0;
  for (; l + 4 <= rows; l += 4) {  // c is read and written once for four terms
    const T *b0 = b + l * b_stride, *b1 = b0 + b_stride, *b2 = b1 + b_stride, *b3 = b2 + b_stride;
    const T a0 = alpha * a[l * a_stride], a1 = alpha * a[(l + 1) * a_stride], a2 = alpha * a[(l + 2) * a_stride],
            a3 = alpha * a[(l + 3) * a_stride];
    for (std::int64_t j = 0; j < columns; ++j) c[j] = c[j] + a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
  }
  for (; l < rows; ++l) {
    const T term = alpha * a[l * a_stride];
    for (std::int64_t j = 0; j < columns; ++j) c[j] += term * b[l * b_stride + j];
  }
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

template <class T>
void blocked_product(const Product<T>& p) {
  thread_local std::vector<T> turned;
  turned.resize(kBlockRows * kBlockColumns);
  for (std::int64_t i = 0; i < p.m; ++i) {
    T* c = p.c + i * p.c_stride;
    for (std::int64_t j = 0; j < p.n; ++j) c[j] = p.beta == 0 ? T(0) : p.beta * c[j];
  }
  const std::int64_t a_row = p.transpose_a ? 1 : p.a_stride, a_term = p.transpose_a ? p.a_stride : 1;
  for (std::int64_t first = 0; first < p.n; first += kBlockColumns) {
    const std::int64_t columns = std::min(kBlockColumns, p.n - first);
    for (std::int64_t term = 0; term < p.k; term += kBlockRows) {
      const std::int64_t rows = std::min(kBlockRows, p.k - term);
      const T* b = p.b + term * p.b_stride + first;
      std::int64_t b_stride = p.b_stride;
      if (p.transpose_b) {
        for (std::int64_t j = 0; j < columns; ++j)
          for (std::int64_t l = 0; l < rows; ++l)
            turned[static_cast<std::size_t>(l * columns + j)] = p.b[(first + j) * p.b_stride + term + l];
        b = turned.data();
        b_stride = columns;
      }
      for (std::int64_t i = 0; i < p.m; ++i)
        add_rows(p.c + i * p.c_stride + first, columns, p.alpha, p.a + i * a_row + term * a_term, a_term, b, b_stride,
                 rows);
    }
  }
}

template <>
void product(const Product<double>& p) {
  blocked_product(p);
}

template <>
void product(const Product<float>& p) {
  if (p.m == 0 || p.n == 0) return;
  if (!blas()) {
    blocked_product(p);
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
template void blocked_product(const Product<float>&);
template void blocked_product(const Product<double>&);

}  // namespace alchemist::cpu
