// OpenBLAS, loaded when the first product needs it. Not linked: the program starts without the library, and its choice
// of kernels can be put right before it is loaded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace alchemist::cpu {

// cblas_sgemm, row by row (cblas.h); `char` stands for the enums' int values.
using SgemmFunction = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc);

// cblas_sgemv.
using SgemvFunction = void (*)(int order, int transpose, int m, int n, float alpha, const float* a, int lda,
                               const float* x, int incx, float beta, float* y, int incy);

struct Blas {
  SgemmFunction sgemm = nullptr;
  SgemvFunction sgemv = nullptr;
  std::string description;  // library, the kernels it chose, threads
};

// Looks in $ALCHEMIST_OPENBLAS, then for libopenblas.so.0 and libopenblas.so where the loader looks. One thread: the
// order of a sum must not depend on how many there are, and the second core belongs to copies. None if there is no
// library; `$ALCHEMIST_OPENBLAS=none` asks for that.
const std::optional<Blas>& blas();

}  // namespace alchemist::cpu
