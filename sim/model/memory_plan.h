// How the memory of one serving GPU is divided: what is left for the KV cache when weights and workspace are taken out.
#pragma once

#include <cstdint>
#include <optional>

#include "sim/base/bytes.h"
#include "sim/model/hardware.h"
#include "sim/model/model_shape.h"

namespace alchemist {

struct MemoryPlanInput {
  double gpu_memory_utilization = 0.9;
  std::int64_t tensor_parallel = 1;
  std::int64_t max_num_batched_tokens = 2048;
  std::int64_t max_num_seqs = 256;
  std::int64_t block_size = 16;
  std::optional<std::int64_t> kv_cache_tokens;  // none: all that is left
};

// All figures are for one GPU of a replica of `tensor_parallel` GPUs.
struct MemoryPlan {
  Bytes memory;            // of the GPU
  Bytes usable;            // gpu_memory_utilization * memory
  Bytes weights;           // this GPU's shard
  Bytes workspace;         // the largest set of activations alive at once
  Bytes reserve;           // outside the tensors: libraries' workspaces, loaded kernels
  Bytes kv_per_token;      // this GPU's shard of the keys and values of one token
  Bytes kv;                // of kv_tokens
  std::int64_t kv_tokens;  // a multiple of the block size; 0 if nothing is left or the asked-for do not fit
};

// Shard of the weights on one GPU: matrices and embeddings are split, norms are on every GPU; KV heads fewer than GPUs
// are repeated.
Bytes sharded_weight_bytes(const ModelShape& model, std::int64_t tensor_parallel);

// Shard of the keys and values of one token.
Bytes sharded_kv_bytes_per_token(const ModelShape& model, std::int64_t tensor_parallel);

// Activations alive at once, the larger of two moments of a step:
//   in the MLP of a layer, T = max_num_batched_tokens: residual and its norm (T x hidden each), gate and up
//   (T x 2 width/tp, width the MLP's of one token), their product (T x width/tp), each of dtype_bytes;
//   in the sampler, S = max_num_seqs, V = vocabulary (gathered on every GPU): logits as computed (S x V x dtype_bytes)
//   and in f32 (S x V x 4), values and indices of their sort for top-k/top-p, both twice because a radix sort goes back
//   and forth between two buffers (S x V x 2 x (4 + 8)); and the last hidden states (T x hidden x dtype_bytes).
// An engine measures its peak instead; this reproduces vLLM 0.19's KV capacity on the one run that we have of it
// (RTX 4090, Llama-3.1-8B, 41,408 tokens) to within 2 % with no constant adjusted.
Bytes workspace_bytes(const ModelShape& model, const MemoryPlanInput& input);

// usable = utilisation * memory; kv = usable - weights - workspace - reserve, rounded down to whole blocks. With
// kv_cache_tokens given, these are taken (rounded down to blocks) as long as weights, reserve and they fit the GPU.
MemoryPlan plan_memory(const ModelShape& model, const HardwareSpec& hardware, const MemoryPlanInput& input);

}  // namespace alchemist
