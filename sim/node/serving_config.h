// Settings of one serving engine, named as vLLM names them.
#pragma once

#include <cstdint>
#include <optional>

namespace alchemist {

inline constexpr std::int32_t kMostGpusOfAReplica = 1024;

struct ServingConfig {
  std::int32_t max_num_seqs = 256;              // requests running at once
  std::int32_t max_num_batched_tokens = 2048;   // tokens a step computes at most
  std::int32_t block_size = 16;                 // tokens of a KV block
  std::optional<std::int64_t> kv_cache_tokens;  // none: what fits (sim/model/memory_plan.h)
  double gpu_memory_utilization = 0.9;
  bool prefix_caching = true;
  bool reset_prefix_cache = false;  // whenever the weights change; otherwise what older ones computed is hit, too
  bool chunked_prefill = true;
  bool reserve_full_prompt = true;            // admit a request only if blocks for its whole prompt are free
  std::int32_t tensor_parallel = 1;           // GPUs of a replica
  bool async_scheduling = true;               // schedule the next step while the current one runs
  bool cuda_graphs = true;                    // compiled model with captured decode batches; false: eager kernels
  bool enable_lora = false;                   // the adapters that are trained run beside the weights
  bool weighs_prompts = false;                // a router asks what waiting prompts have in the prefix cache
  bool blocks_known_ahead = false;            // a run of decode steps ends where a request needs a block: for a host
                                              // that must have all addresses before the run begins
  std::optional<std::int32_t> max_model_len;  // tokens of prompt and answer together; none: the model's own limit

  bool operator==(const ServingConfig&) const = default;
};

}  // namespace alchemist
