#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/round_rows.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void round_row(RoundRows<BFloat16> call) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kRun;
  if (column >= call.width) return;
  float values[kRun];
  load_run(values, call.from + blockIdx.x * call.width + column);
  store_run(reinterpret_cast<std::uint16_t*>(call.to) + blockIdx.x * call.to_stride + column, values);
}

}  // namespace

void round_rows(const RoundRows<BFloat16>& call, Stream stream) {
  check_runs(call.width, "rounding: a width of whole runs");
  check_runs(call.to_stride, "rounding: a stride of whole runs");
  launch(round_row, dim3(static_cast<unsigned>(call.rows), blocks_for(call.width / kRun, kThreads)), dim3(kThreads), 0,
         stream, call);
}

}  // namespace alchemist::cuda
