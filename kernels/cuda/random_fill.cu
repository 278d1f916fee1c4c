#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/random_fill.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void draw(RandomFill<BFloat16> call) {
  const std::int64_t i = global_thread();
  if (i >= call.count) return;
  const double value = random_value(call.kind, mix64(call.stream + static_cast<std::uint64_t>(i)));
  reinterpret_cast<std::uint16_t*>(call.values)[i] = round_to_bf16(static_cast<float>(call.scale * value));
}

}  // namespace

void random_fill(const RandomFill<BFloat16>& call, Stream stream) {
  launch(draw, dim3(blocks_for(call.count, kThreads)), dim3(kThreads), 0, stream, call);
}

}  // namespace alchemist::cuda
