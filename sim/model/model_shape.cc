#include "sim/model/model_shape.h"

#include <fmt/format.h>

#include <algorithm>

namespace alchemist {

std::int64_t ModelShape::layer_parameters() const {
  const std::int64_t attention = hidden * q_width() + 2 * hidden * kv_width() + q_width() * hidden;
  const std::int64_t bias = qkv_bias ? q_width() + 2 * kv_width() : 0;
  const std::int64_t mlp = 3 * hidden * intermediate * std::max<std::int64_t>(1, experts) + hidden * experts;
  const std::int64_t norms = 2 * hidden + (qk_norm ? 2 * head_dim : 0);
  return attention + bias + mlp + norms;
}

std::int64_t ModelShape::parameters() const {
  const std::int64_t embedding = vocabulary * hidden;
  return layers * layer_parameters() + embedding * (tied_embeddings ? 1 : 2) + hidden;
}

std::int64_t ModelShape::active_parameters() const {
  return parameters() - layers * 3 * hidden * intermediate * (experts - experts_per_token);
}

ModelShape gpu_shard(const ModelShape& model, std::int64_t tensor_parallel) {
  const auto part = [&](std::int64_t whole) { return (whole + tensor_parallel - 1) / tensor_parallel; };
  ModelShape shard = model;
  shard.heads = part(model.heads);
  shard.kv_heads = std::max<std::int64_t>(1, model.kv_heads / tensor_parallel);
  shard.intermediate = part(model.intermediate);
  shard.vocabulary = part(model.vocabulary);
  return shard;
}

std::optional<std::string> split_error(const ModelShape& model, std::int64_t tensor_parallel) {
  if (model.heads % tensor_parallel != 0) {
    return fmt::format("{} does not divide the {} query heads of {}", tensor_parallel, model.heads, model.name);
  }
  if (model.kv_heads % tensor_parallel != 0 && tensor_parallel % model.kv_heads != 0) {
    return fmt::format("{} neither divides the {} key/value heads of {} nor is a multiple of them", tensor_parallel,
                       model.kv_heads, model.name);
  }
  return std::nullopt;
}

}  // namespace alchemist
