#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/preference_loss.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::size_t kScratchBytes = kThreads / 32 * sizeof(float);

// A block for each pair.
__global__ void pair_loss(PreferenceLoss<float> call) {
  const std::int64_t pair = blockIdx.x;
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  float log_ratio[2];
  for (int side = 0; side < 2; ++side) {
    const std::int64_t sequence = 2 * pair + side;
    float sum = 0.0F;
    for (std::int64_t i = call.sequence_begin[sequence] + threadIdx.x; i < call.sequence_begin[sequence + 1];
         i += kThreads)
      sum += call.token_loss[i];
    log_ratio[side] = -block_sum(sum, scratch) - call.reference_logprob[sequence];
  }
  const float margin = call.beta * (log_ratio[0] - log_ratio[1]);
  // log(1 + exp(-margin)) without overflow, for margins of either sign.
  if (threadIdx.x == 0) call.loss[pair] = fmaxf(-margin, 0.0F) + log1pf(expf(-fabsf(margin)));
  const float weight = call.scale * call.beta / (1.0F + expf(margin));
  const std::int64_t middle = call.sequence_begin[2 * pair + 1];
  for (std::int64_t i = call.sequence_begin[2 * pair] + threadIdx.x; i < call.sequence_begin[2 * pair + 2];
       i += kThreads)
    call.weight[i] = i < middle ? weight : -weight;
}

}  // namespace

void preference_loss(const PreferenceLoss<float>& call, Stream stream) {
  launch(pair_loss, dim3(static_cast<unsigned>(call.pairs)), dim3(kThreads), kScratchBytes, stream, call);
}

}  // namespace alchemist::cuda
