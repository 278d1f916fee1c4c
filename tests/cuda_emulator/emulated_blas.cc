// Matrix products in plain loops, in place of cuBLAS.
#include "kernels/cuda/blas.h"
#include "kernels/cuda/intrinsics.cuh"

namespace alchemist::cuda {

namespace {

void multiply_now(const MatrixProduct& p) {
  const auto element = [](const void* matrix, std::int64_t at) {
    return from_bf16(static_cast<const std::uint16_t*>(matrix)[at]);
  };
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      float sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k) {
        sum += element(p.a, p.a_transposed == Transpose::kYes ? k * p.a_stride + i : i * p.a_stride + k) *
               element(p.b, p.b_transposed == Transpose::kYes ? j * p.b_stride + k : k * p.b_stride + j);
      }
      const std::int64_t at = i * p.c_stride + j;
      if (p.c_element == Element::kF32) {
        float& c = static_cast<float*>(p.c)[at];
        c = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * c);
      } else {
        std::uint16_t& c = static_cast<std::uint16_t*>(p.c)[at];
        c = round_to_bf16(p.alpha * sum + (p.beta == 0 ? 0 : p.beta * from_bf16(c)));
      }
    }
}

}  // namespace

struct Blas::Body {};

Blas::Blas(cudaStream_t stream) : stream_(stream) {}
Blas::~Blas() = default;

void Blas::multiply(const MatrixProduct& product) {
  cuda_emulator::enqueue([p = product] { multiply_now(p); });
}

std::string Blas::version() { return "emulated"; }

}  // namespace alchemist::cuda
