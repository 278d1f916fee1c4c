// Settings of the serving engine. The names are vLLM's where it has one.
#pragma once

#include <cstdint>
#include <optional>

namespace alchemist {

struct ServingConfig {
  std::int32_t max_num_seqs = 256;             // requests that run at the same time
  std::int32_t max_num_batched_tokens = 2048;  // tokens that one step computes, at most
  std::int32_t block_size = 16;                // tokens of one KV block
  std::optional<std::int64_t>
      kv_cache_tokens;                        // of one replica; none: what the memory allows (sim/model/memory_plan.h)
  double gpu_memory_utilization = 0.9;        // share of GPU memory that the engine may use
  bool prefix_caching = true;                 // blocks of equal prefixes are shared and kept after use
  bool chunked_prefill = true;                // a prompt may be computed in pieces
  bool reserve_full_prompt = true;            // a request is admitted only when the blocks of its whole prompt fit
  std::int32_t tensor_parallel = 1;           // GPUs of one replica
  bool async_scheduling = true;               // the next step is scheduled while the present one runs
  bool cuda_graphs = true;                    // decode steps are replayed graphs, batch sizes padded to captured ones
  std::optional<std::int64_t> max_model_len;  // longest prompt + output; none: the least of model and KV capacity

  bool operator==(const ServingConfig&) const = default;
};

}  // namespace alchemist
