// Adds up what blocks have left: the last step of gradients that are sums over all rows.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/cuda_stream.h"

namespace alchemist::cuda {
namespace {

constexpr int kSumColumns = 32;
constexpr int kSumRows = 32;

// sums[j] += sum of column j of `partial` [rows, width].
__global__ void add_columns(const float* partial, std::int64_t rows, std::int64_t width, float* sums) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kSumColumns + threadIdx.x;
  float sum = 0.0F;
  if (column < width) {
#pragma unroll 8
    for (std::int64_t row = threadIdx.y; row < rows; row += kSumRows) sum += partial[row * width + column];
  }
  auto* shared = reinterpret_cast<float*>(shared_memory());
  shared[threadIdx.y * kSumColumns + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int i = 1; i < kSumRows; ++i) sum += shared[i * kSumColumns + threadIdx.x];
  sums[column] += sum;
}

void launch_add_columns(const float* partial, std::int64_t rows, std::int64_t width, float* sums, Stream stream) {
  launch(add_columns, dim3(blocks_for(width, kSumColumns)), dim3(kSumColumns, kSumRows),
         kSumColumns * kSumRows * sizeof(float), stream, partial, rows, width, sums);
}

}  // namespace
}  // namespace alchemist::cuda
