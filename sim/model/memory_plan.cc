#include "sim/model/memory_plan.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

namespace {

// Start-up logs of vLLM on one GPU give 0.04-0.16 GiB as "non_torch_memory" (0.11 GiB for an 8B Llama).
constexpr Bytes kReserve{128LL << 20};

constexpr std::int64_t kF32Bytes = 4;
constexpr std::int64_t kSortBytes = 2 * (4 + 8);  // f32 value and 64-bit index, double-buffered

}  // namespace

Bytes sharded_weight_bytes(const ModelShape& model, std::int64_t tensor_parallel) {
  return gpu_shard(model, tensor_parallel).weight_bytes();
}

Bytes sharded_kv_bytes_per_token(const ModelShape& model, std::int64_t tensor_parallel) {
  return gpu_shard(model, tensor_parallel).kv_bytes_per_token();
}

Bytes workspace_bytes(const ModelShape& model, const MemoryPlanInput& input) {
  const std::int64_t width = gpu_shard(model, input.tensor_parallel).mlp_width();
  const std::int64_t mlp = input.max_num_batched_tokens * (2 * model.hidden + 3 * width) * model.dtype_bytes;
  const std::int64_t sampler = input.max_num_seqs * model.vocabulary * (model.dtype_bytes + kF32Bytes + kSortBytes) +
                               input.max_num_batched_tokens * model.hidden * model.dtype_bytes;
  return Bytes(std::max(mlp, sampler));
}

MemoryPlan plan_memory(const ModelShape& model, const HardwareSpec& hardware, const MemoryPlanInput& input) {
  check(input.block_size >= 1 && input.tensor_parallel >= 1, "settings were validated");
  MemoryPlan plan{};
  plan.memory = hardware.memory;
  plan.usable = Bytes(static_cast<std::int64_t>(input.gpu_memory_utilization * hardware.memory.as_double()));
  plan.weights = sharded_weight_bytes(model, input.tensor_parallel);
  plan.workspace = workspace_bytes(model, input);
  plan.reserve = kReserve;
  plan.kv_per_token = sharded_kv_bytes_per_token(model, input.tensor_parallel);
  const Bytes block = plan.kv_per_token * input.block_size;
  const Bytes left = plan.usable - plan.weights - plan.workspace - plan.reserve;
  std::int64_t blocks = std::max<std::int64_t>(0, left / block);
  if (input.kv_cache_tokens) {
    const std::int64_t asked = *input.kv_cache_tokens / input.block_size;
    const Bytes room = plan.memory - plan.weights - plan.reserve;
    blocks = room >= Bytes() && asked <= room / block ? asked : 0;
  }
  plan.kv = block * blocks;
  plan.kv_tokens = blocks * input.block_size;
  return plan;
}

}  // namespace alchemist
