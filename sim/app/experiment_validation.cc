#include "sim/app/experiment_validation.h"

#include <fmt/format.h>

#include <limits>
#include <sstream>

#include "sim/app/conflict_error.h"
#include "sim/app/experiment_world.h"
#include "sim/app/gib.h"

namespace alchemist {

namespace {

// Fails at the key if it is written in the file, else at the nearest mapping around it.
[[noreturn]] void fail_at(const YamlValue& root, const std::string& key_path, const std::string& message) {
  YamlValue place = root;
  std::istringstream words(key_path);
  std::string word;
  while (std::getline(words, word, '.')) {
    if (!place.is_map()) break;
    const std::optional<YamlValue> next = YamlMap(place).optional(word);
    if (!next) break;
    place = *next;
  }
  place.child(place.node(), place.node(), key_path).fail_together(message);
}

void validate_batch(const Experiment& e, const YamlValue& root) {
  const ServingConfig& s = e.serving;
  if (s.max_num_batched_tokens < s.max_num_seqs)
    fail_at(root, "serving.max_num_batched_tokens",
            fmt::format("{} is below max_num_seqs ({}): a step must have room for one token of every running request",
                        s.max_num_batched_tokens, s.max_num_seqs));
  if (s.max_model_len && *s.max_model_len > e.model.max_position)
    fail_at(root, "serving.max_model_len",
            fmt::format("{} is beyond the {} positions of {}", *s.max_model_len, e.model.max_position, e.model.name));
}

void validate_cluster(const Experiment& e, const YamlValue& root) {
  const std::int32_t tp = e.serving.tensor_parallel;
  const std::int32_t apart = gpus_apart(e.cluster, load_policy(e.policy));
  if (apart >= e.cluster.gpus)
    fail_at(root, "cluster.training_gpus",
            fmt::format("{} of {} GPUs for training leave none to serve: raise cluster.gpus or lower training_gpus",
                        apart, e.cluster.gpus));
  const std::int32_t serving = e.cluster.gpus - apart;
  if (e.cluster.gpus % tp != 0 || serving % tp != 0)
    fail_at(root, "serving.tensor_parallel",
            fmt::format("{} does not divide the GPUs: {} in all, {} of them serve{}", tp, e.cluster.gpus, serving,
                        apart > 0 ? fmt::format(", {} train", apart) : ""));
  if (const std::optional<std::string> error = split_error(e.model, tp)) {
    fail_at(root, "serving.tensor_parallel", *error);
  }
}

void validate_memory(const Experiment& e, const YamlValue& root) {
  const ServingConfig& s = e.serving;
  if (s.kv_cache_tokens && *s.kv_cache_tokens < s.block_size)
    fail_at(root, "serving.kv_cache_tokens",
            fmt::format("{} tokens are less than one block of {}: raise it or lower block_size", *s.kv_cache_tokens,
                        s.block_size));
  const MemoryPlan plan = memory_plan(e);
  const std::string help = fmt::format(
      "raise serving.tensor_parallel (now {}) or gpu_memory_utilization (now {}), lower max_num_seqs or "
      "max_num_batched_tokens, or choose a smaller model or a GPU with more memory",
      s.tensor_parallel, s.gpu_memory_utilization);
  if (plan.kv_tokens == 0 && s.kv_cache_tokens)
    fail_at(root, "serving.kv_cache_tokens",
            fmt::format("{} of {} do not fit a {}: weights {} and {} tokens of KV cache {} exceed its {}; lower it, {}",
                        "weights and KV cache", e.model.name, e.hardware.name, gib(plan.weights), *s.kv_cache_tokens,
                        gib(plan.kv_per_token * *s.kv_cache_tokens), gib(plan.memory), help));
  if (plan.kv_tokens == 0)
    fail_at(
        root, "model",
        fmt::format("{} does not fit a {}: of {} x {} = {} on each GPU, weights take {}, the workspace of a step {} "
                    "and the runtime {}, which leaves no KV block; {}",
                    e.model.name, e.hardware.name, s.gpu_memory_utilization, gib(plan.memory), gib(plan.usable),
                    gib(plan.weights), gib(plan.workspace), gib(plan.reserve), help));
  if (plan.kv_tokens / s.block_size > std::numeric_limits<std::int32_t>::max())
    fail_at(root, "hardware.memory", "gives more than 2^31 KV blocks: raise serving.block_size or set kv_cache_tokens");
  // Each block has an entry of its own in memory (24 bytes and more).
  constexpr std::int64_t kMostBlocks = 1 << 28;
  const std::int64_t blocks = plan.kv_tokens / s.block_size *
                              ((e.cluster.gpus - gpus_apart(e.cluster, load_policy(e.policy))) / s.tensor_parallel);
  if (blocks > kMostBlocks)
    fail_at(root, "cluster.gpus",
            fmt::format("gives {} KV blocks on all replicas, more than the {} that can be simulated: lower it, raise "
                        "serving.block_size or set kv_cache_tokens",
                        blocks, kMostBlocks));
  if (s.max_model_len && *s.max_model_len > plan.kv_tokens)
    fail_at(
        root, "serving.max_model_len",
        fmt::format("one request of {} tokens needs {} of KV cache, but {} tokens ({}) fit; lower it, or {}",
                    *s.max_model_len, gib(plan.kv_per_token * *s.max_model_len), plan.kv_tokens, gib(plan.kv), help));
}

// What training needs is known when it is set up.
void validate_world(const Experiment& e, const YamlValue& root) {
  try {
    const ExperimentWorld world(e);
  } catch (const ConflictError& conflict) { fail_at(root, conflict.key_path(), conflict.message()); }
}

}  // namespace

void validate_experiment(const Experiment& e, const YamlValue& root) {
  validate_batch(e, root);
  validate_cluster(e, root);
  validate_memory(e, root);
  if (!e.serving.chunked_prefill && e.serving.max_num_batched_tokens < max_model_len(e))
    fail_at(
        root, "serving.chunked_prefill",
        fmt::format("without chunked prefill a whole prompt must fit one step, but max_num_batched_tokens is {} and "
                    "requests may have {} tokens: raise it to that or set max_model_len to at most {}",
                    e.serving.max_num_batched_tokens, max_model_len(e), e.serving.max_num_batched_tokens));
  validate_world(e, root);
}

}  // namespace alchemist
