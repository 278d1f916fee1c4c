// Matrix products of bf16 by cuBLAS, which is opened when the first product is asked for.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>

namespace alchemist::cuda {

enum class Transpose : bool { kNo, kYes };
enum class Element { kBf16, kF32 };

// c = alpha op(a) op(b) + beta c with everything stored by rows: op(a) is m x k, op(b) k x n, c m x n. A leading
// dimension is the distance between rows, in elements. a and b are bf16, sums f32, c of the given type.
struct MatrixProduct {
  std::int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  std::int64_t a_stride = 0;
  Transpose a_transposed = Transpose::kNo;
  const void* b = nullptr;
  std::int64_t b_stride = 0;
  Transpose b_transposed = Transpose::kNo;
  void* c = nullptr;
  std::int64_t c_stride = 0;
  Element c_element = Element::kBf16;
  float alpha = 1.0F;
  float beta = 0.0F;
};

// One stream's products. With a workspace of its own and one stream a handle, the same product on the same GPU gives
// the same bits in every run (cuBLAS's documentation, "Results reproducibility").
class Blas {
 public:
  explicit Blas(cudaStream_t stream);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // Throws ConfigError if cuBLAS is not found, DeviceError if it fails.
  void multiply(const MatrixProduct& product);

  // "13.0.2 from /usr/lib/...", for provenance. Opens the library.
  std::string version();

 private:
  struct Body;
  Body& opened();

  cudaStream_t stream_;
  std::unique_ptr<Body> body_;
};

}  // namespace alchemist::cuda
