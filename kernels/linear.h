// Products with weights. Weights are stored as the published models store them, [out, in] row by row: y = x W^T.
//
// A low-rank adapter (Hu et al. 2021) is made of the same three calls, with A: [rank, in], B: [out, rank] and s = alpha
// / rank:
//   forward   a = x A^T;  y += s a B^T            (accumulate, scale = s)
//   backward  d_a = s d_y B;  d_x += d_a A;  d_B += s d_y^T a;  d_A += d_a^T x
//
// On a GPU the products are a library's; that library's handle belongs to the device (device.h), so there is no free
// function here.
#pragma once

#include <cstdint>

#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// y = scale * x W^T (+ bias) (+ y). Rows of x and y are `x_stride` and `y_stride` elements apart.
template <class T>
struct LinearForward {
  const T* x;       // [tokens, in]
  const T* weight;  // [out, in]
  const T* bias;    // [out], or null
  T* y;             // [tokens, out]
  std::int64_t tokens;
  std::int64_t in;
  std::int64_t out;
  std::int64_t x_stride;
  std::int64_t y_stride;
  Accumulator<T> scale = 1;
  bool accumulate = false;
};

// d_x = scale * d_y W (+ d_x).
template <class T>
struct LinearInputGradient {
  const T* d_y;     // [tokens, out]
  const T* weight;  // [out, in]
  T* d_x;           // [tokens, in]
  std::int64_t tokens;
  std::int64_t in;
  std::int64_t out;
  std::int64_t d_y_stride;
  std::int64_t d_x_stride;
  Accumulator<T> scale = 1;
  bool accumulate = false;
};

// d_weight += scale * d_y^T x; d_bias += scale * sum_i d_y[i, :].
template <class T>
struct LinearWeightGradient {
  const T* d_y;              // [tokens, out]
  const T* x;                // [tokens, in]
  Accumulator<T>* d_weight;  // [out, in]
  Accumulator<T>* d_bias;    // [out], or null
  std::int64_t tokens;
  std::int64_t in;
  std::int64_t out;
  std::int64_t d_y_stride;
  std::int64_t x_stride;
  Accumulator<T> scale = 1;
};

namespace internal {
// `added_to`: elements a token that are read as well as written.
inline CallCost linear_cost(std::int64_t tokens, std::int64_t in, std::int64_t out, double element, double product,
                            std::int64_t added_to = 0) {
  const double t = static_cast<double>(tokens), i = static_cast<double>(in), o = static_cast<double>(out);
  const double rows = i + o + static_cast<double>(added_to);
  return {t * linear_work(in, out).matrix_flops_per_token, t * rows * element + i * o * product};
}
}  // namespace internal

template <class T>
CallCost cost(const LinearForward<T>& call) {
  return internal::linear_cost(call.tokens, call.in, call.out, sizeof(T), sizeof(T), call.accumulate ? call.out : 0);
}
template <class T>
CallCost cost(const LinearInputGradient<T>& call) {
  return internal::linear_cost(call.tokens, call.in, call.out, sizeof(T), sizeof(T), call.accumulate ? call.in : 0);
}
template <class T>
CallCost cost(const LinearWeightGradient<T>& call) {
  return internal::linear_cost(call.tokens, call.in, call.out, sizeof(T), 2 * sizeof(Accumulator<T>));
}

namespace cpu {
template <class T>
void linear_forward(const LinearForward<T>& call);
template <class T>
void linear_input_gradient(const LinearInputGradient<T>& call);
template <class T>
void linear_weight_gradient(const LinearWeightGradient<T>& call);
}  // namespace cpu

}  // namespace alchemist
