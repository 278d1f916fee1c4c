#include "kernels/cuda/blas.h"

#include "kernels/cuda/errors.h"
#include "kernels/cuda/library.h"
#include "sim/base/check.h"

namespace alchemist::cuda {
namespace {

// The part of cublas_v2.h and library_types.h that is used here; these values are part of the library's binary
// interface since CUDA 11.
using Status = int;
using Handle = void*;
constexpr Status kSuccess = 0;
constexpr Status kAllocationFailed = 3;
constexpr int kOperationNone = 0;
constexpr int kOperationTranspose = 1;
constexpr int kTypeF32 = 0;
constexpr int kTypeBf16 = 14;
constexpr int kComputeF32 = 68;
constexpr int kAlgorithmDefault = -1;

using Create = Status(Handle*);
using Destroy = Status(Handle);
using SetStream = Status(Handle, cudaStream_t);
using SetWorkspace = Status(Handle, void*, std::size_t);
using GetVersion = Status(Handle, int*);
using GemmEx = Status(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                      const void*, void*, int, int, int, int);

// What the documentation recommends for Hopper; smaller GPUs need less.
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

const Library& cublas() {
  static const Library library({.title = "cuBLAS",
                                .environment = "ALCHEMIST_CUBLAS",
                                .files = {"libcublas.so.13", "libcublas.so.12"},
                                .wheels = {"nvidia/cu13/lib", "nvidia/cublas/lib"}},
                               {"libcublasLt.so.13", "libcublasLt.so.12"});
  return library;
}

void check_status(Status status, const char* doing) {
  if (status == kSuccess) return;
  const std::string reason = status == kAllocationFailed ? ": not enough memory" : "";
  throw DeviceError("cuBLAS, " + std::string(doing) + ": status " + std::to_string(status) + reason);
}

int as_int(std::int64_t value) {
  check(value >= 0 && value <= INT32_MAX, "a matrix is too large for cuBLAS");
  return static_cast<int>(value);
}

int operation(Transpose transpose) { return transpose == Transpose::kYes ? kOperationTranspose : kOperationNone; }

}  // namespace

struct Blas::Body {
  Handle handle = nullptr;
  void* workspace = nullptr;
  GemmEx* gemm = cublas().find<GemmEx>("cublasGemmEx");
};

Blas::Blas(cudaStream_t stream) : stream_(stream) {}

Blas::~Blas() {
  if (!body_) return;
  cublas().find<Destroy>("cublasDestroy_v2")(body_->handle);
  cudaFree(body_->workspace);
}

Blas::Body& Blas::opened() {
  if (body_) return *body_;
  auto body = std::make_unique<Body>();
  check_status(cublas().find<Create>("cublasCreate_v2")(&body->handle), "opening");
  body_ = std::move(body);
  check_cuda(cudaMalloc(&body_->workspace, kWorkspaceBytes), "workspace of cuBLAS");
  check_status(cublas().find<SetStream>("cublasSetStream_v2")(body_->handle, stream_), "setting the stream");
  check_status(cublas().find<SetWorkspace>("cublasSetWorkspace_v2")(body_->handle, body_->workspace, kWorkspaceBytes),
               "setting the workspace");
  return *body_;
}

// cuBLAS stores by columns: a matrix by rows is its transpose, so it is asked for c' = op(b)' op(a)'.
void Blas::multiply(const MatrixProduct& product) {
  if (product.m == 0 || product.n == 0) return;
  Body& body = opened();
  const Status status = body.gemm(body.handle, operation(product.b_transposed), operation(product.a_transposed),
                                  as_int(product.n), as_int(product.m), as_int(product.k), &product.alpha, product.b,
                                  kTypeBf16, as_int(product.b_stride), product.a, kTypeBf16, as_int(product.a_stride),
                                  &product.beta, product.c, product.c_element == Element::kBf16 ? kTypeBf16 : kTypeF32,
                                  as_int(product.c_stride), kComputeF32, kAlgorithmDefault);
  check_status(status, "matrix product");
}

std::string Blas::version() {
  int number = 0;
  check_status(cublas().find<GetVersion>("cublasGetVersion_v2")(opened().handle, &number), "asking for the version");
  return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
         std::to_string(number % 100) + " from " + cublas().path();
}

}  // namespace alchemist::cuda
