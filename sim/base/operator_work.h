// Arithmetic of each operator of a decoder layer, forward and backward, without the traffic of memory. Said once, for
// the layer graph that prices operators and for the kernels that run them. Per token unless the field's name says
// otherwise; a multiply-add is two FLOPs, an exponential or a division one.
#pragma once

#include <cstdint>

#include "sim/base/work.h"

namespace alchemist {

// rstd = 1 / sqrt(mean(x^2) + eps): square and add for each of `width` elements.
constexpr Work norm_statistics_work(std::int64_t width) {
  return {.vector_flops_per_token = 2 * static_cast<double>(width)};
}
// d x = -rstd^3 x (d rstd) / width.
constexpr Work norm_statistics_gradient_work(std::int64_t width) { return norm_statistics_work(width); }

// n = x rstd w: two multiplications.
constexpr Work norm_scale_work(std::int64_t width) {
  return {.vector_flops_per_token = 2 * static_cast<double>(width)};
}
// d x = d n w rstd; d rstd = sum(d n w x).
constexpr Work norm_scale_gradient_work(std::int64_t width) {
  return {.vector_flops_per_token = 4 * static_cast<double>(width)};
}
// d w = sum(d n x rstd).
constexpr Work norm_weight_gradient_work(std::int64_t width) {
  return {.vector_flops_per_token = 3 * static_cast<double>(width)};
}

// A product with in * out weights. The gradients of its input and of its weights are products of the same size.
constexpr Work linear_work(std::int64_t in, std::int64_t out) {
  return {.matrix_flops_per_token = 2 * static_cast<double>(in * out)};
}

// Rotation of `width` elements in pairs: four multiplications and two additions a pair. The gradient is the opposite
// rotation.
constexpr Work rotary_work(std::int64_t width) { return {.vector_flops_per_token = 3.0 * static_cast<double>(width)}; }

// Two products (scores, output) for each query head and key. Softmax: scale, subtract the maximum, exponential, sum.
constexpr Work attention_work(std::int64_t heads, std::int64_t head_dim) {
  return {.matrix_flops_per_key = 4 * static_cast<double>(heads * head_dim),
          .vector_flops_per_key = 4 * static_cast<double>(heads)};
}
// Five products, because the probabilities are rebuilt from q, k and the log-sum-exp instead of being kept (Dao,
// "FlashAttention-2", 2023, algorithm 2); row sums of d o * o; scale, subtract, exponential, subtract, multiply, scale.
constexpr Work attention_gradient_work(std::int64_t heads, std::int64_t head_dim) {
  const double width = static_cast<double>(heads * head_dim);
  return {.matrix_flops_per_key = 10 * width,
          .vector_flops_per_token = 2 * width,
          .vector_flops_per_key = 6 * static_cast<double>(heads)};
}

// Sum of two.
constexpr Work residual_work(std::int64_t width) { return {.vector_flops_per_token = static_cast<double>(width)}; }

// silu(gate) * up: negate, exponential, add, divide, multiply.
constexpr Work gated_activation_work(std::int64_t width) {
  return {.vector_flops_per_token = 5 * static_cast<double>(width)};
}
// The sigmoid again (4), d up (2), d gate (5).
constexpr Work gated_activation_gradient_work(std::int64_t width) {
  return {.vector_flops_per_token = 11 * static_cast<double>(width)};
}

// Softmax over the experts (maximum, subtraction, exponential, sum), and a comparison with the `chosen` largest of
// each.
constexpr Work routing_work(std::int64_t experts, std::int64_t chosen) {
  return {.vector_flops_per_token = static_cast<double>((4 + chosen) * experts)};
}
// Of the chosen experts' logits, w (d w - sum(w d w)); the others' gradient is zero.
constexpr Work routing_gradient_work(std::int64_t chosen) {
  return {.vector_flops_per_token = 4 * static_cast<double>(chosen)};
}

// `width` elements, each times a weight.
constexpr Work scale_work(std::int64_t width) { return {.vector_flops_per_token = static_cast<double>(width)}; }
// The weights' gradient: sum(d y x).
constexpr Work scale_weight_gradient_work(std::int64_t width) {
  return {.vector_flops_per_token = 2 * static_cast<double>(width)};
}

// Sum of `count` rows, as of the experts of a token.
constexpr Work row_sum_work(std::int64_t width, std::int64_t count) {
  return {.vector_flops_per_token = static_cast<double>(width * (count - 1))};
}

// The softmax's maximum, subtraction, exponential and sum, in one pass over the vocabulary.
constexpr Work cross_entropy_work(std::int64_t vocabulary) {
  return {.vector_flops_per_token = 4 * static_cast<double>(vocabulary)};
}
// softmax - target, scaled by the token's weight.
constexpr Work cross_entropy_gradient_work(std::int64_t vocabulary) {
  return {.vector_flops_per_token = 3 * static_cast<double>(vocabulary)};
}

}  // namespace alchemist
