#include "kernels/linear.h"

#include <algorithm>

#include "kernels/cpu/product.h"

namespace alchemist::cpu {

template <class T>
void linear_forward(const LinearForward<T>& call) {
  bool accumulate = call.accumulate;
  if (call.bias) {
    for (std::int64_t i = 0; i < call.tokens; ++i) {
      T* y = call.y + i * call.y_stride;
      for (std::int64_t j = 0; j < call.out; ++j) y[j] = accumulate ? y[j] + call.bias[j] : call.bias[j];
    }
    accumulate = true;
  }
  product<T>({.transpose_b = true,
              .m = call.tokens,
              .n = call.out,
              .k = call.in,
              .alpha = call.scale,
              .a = call.x,
              .a_stride = call.x_stride,
              .b = call.weight,
              .b_stride = call.in,
              .beta = accumulate ? T(1) : T(0),
              .c = call.y,
              .c_stride = call.y_stride});
}

template <class T>
void linear_input_gradient(const LinearInputGradient<T>& call) {
  product<T>({.m = call.tokens,
              .n = call.in,
              .k = call.out,
              .alpha = call.scale,
              .a = call.d_y,
              .a_stride = call.d_y_stride,
              .b = call.weight,
              .b_stride = call.in,
              .beta = call.accumulate ? T(1) : T(0),
              .c = call.d_x,
              .c_stride = call.d_x_stride});
}

template <class T>
void linear_weight_gradient(const LinearWeightGradient<T>& call) {
  product<T>({.transpose_a = true,
              .m = call.out,
              .n = call.in,
              .k = call.tokens,
              .alpha = call.scale,
              .a = call.d_y,
              .a_stride = call.d_y_stride,
              .b = call.x,
              .b_stride = call.x_stride,
              .beta = 1,
              .c = call.d_weight,
              .c_stride = call.in});
  if (!call.d_bias) return;
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* d_y = call.d_y + i * call.d_y_stride;
    for (std::int64_t j = 0; j < call.out; ++j) call.d_bias[j] += call.scale * d_y[j];
  }
}

template void linear_forward(const LinearForward<float>&);
template void linear_forward(const LinearForward<double>&);
template void linear_input_gradient(const LinearInputGradient<float>&);
template void linear_input_gradient(const LinearInputGradient<double>&);
template void linear_weight_gradient(const LinearWeightGradient<float>&);
template void linear_weight_gradient(const LinearWeightGradient<double>&);

}  // namespace alchemist::cpu
