// Shape of a decoder-only transformer of the Llama family, dense or a mixture of experts, and what follows from it:
// parameters and KV bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "sim/base/bytes.h"

namespace alchemist {

struct ModelShape {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;        // width of the residual stream
  std::int64_t intermediate = 0;  // width of the gated MLP, or of that of one expert
  std::int64_t heads = 0;         // query heads
  std::int64_t kv_heads = 0;      // key/value heads (grouped-query attention)
  std::int64_t head_dim = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_position = 0;  // longest sequence in tokens
  bool qkv_bias = false;          // Qwen2 has biases on q, k, v
  bool tied_embeddings = false;   // the output head is the embedding
  std::int64_t dtype_bytes = 2;   // bytes of a weight, activation or KV element

  bool qk_norm = false;  // Qwen3: each head's queries and keys pass an RMSNorm before their rotation
  // Mixture of experts (Mixtral, Qwen3-MoE): the MLP is there so many times, and a router sends each token to
  // experts_per_token of them. 0: dense.
  std::int64_t experts = 0;
  std::int64_t experts_per_token = 0;

  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }

  // Of the MLP's activations of one token, all its experts together.
  std::int64_t mlp_width() const { return intermediate * std::max<std::int64_t>(1, experts_per_token); }
  // Of the experts, how many of them a token is sent to; 1 if dense.
  double expert_share() const {
    return experts == 0 ? 1 : static_cast<double>(experts_per_token) / static_cast<double>(experts);
  }

  // Parameters of one decoder layer: q, k, v, o, gate, up, down (of every expert, and the router), norms, biases.
  std::int64_t layer_parameters() const;
  // All of them: layers, embedding, output head (unless tied), final norm.
  std::int64_t parameters() const;
  // Of these, what one token passes: without the experts that it is not sent to.
  std::int64_t active_parameters() const;
  Bytes weight_bytes() const { return Bytes(parameters() * dtype_bytes); }
  // Keys and values of one token in all layers.
  Bytes kv_bytes_per_token() const { return Bytes(2 * kv_width() * layers * dtype_bytes); }

  bool operator==(const ModelShape&) const = default;
};

// What each of `tensor_parallel` GPUs holds of a model, as a shape of its own: heads, MLP and vocabulary are split, the
// residual stream and the norms are whole on every GPU (Shoeybi et al., "Megatron-LM", 2019, section 3; no sequence
// parallelism, which would split those too). Fewer key/value heads than GPUs are repeated. What does not divide is
// padded. The model itself for 1.
ModelShape gpu_shard(const ModelShape& model, std::int64_t tensor_parallel);

// Why a model cannot be split over so many GPUs; none if it can.
std::optional<std::string> split_error(const ModelShape& model, std::int64_t tensor_parallel);

}  // namespace alchemist
