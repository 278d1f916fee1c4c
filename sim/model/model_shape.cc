#include "sim/model/model_shape.h"

namespace alchemist {

std::int64_t ModelShape::layer_parameters() const {
  const std::int64_t attention = hidden * q_width() + 2 * hidden * kv_width() + q_width() * hidden;
  const std::int64_t bias = qkv_bias ? q_width() + 2 * kv_width() : 0;
  const std::int64_t mlp = 3 * hidden * intermediate;
  const std::int64_t norms = 2 * hidden;
  return attention + bias + mlp + norms;
}

std::int64_t ModelShape::parameters() const {
  const std::int64_t embedding = vocabulary * hidden;
  return layers * layer_parameters() + embedding * (tied_embeddings ? 1 : 2) + hidden;
}

}  // namespace alchemist
