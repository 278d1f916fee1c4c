#include "kernels/head_norm.h"

#include <cmath>

#include "kernels/cpu/rotate.h"
#include "kernels/cpu/row_sum.h"

namespace alchemist::cpu {

template <class T>
void head_norm_forward(const HeadNormForward<T>& call) {
  const NormedHeads<T>& n = call.heads;
  const std::int64_t half = n.head_dim / 2;
  for (std::int64_t i = 0; i < n.tokens; ++i) {
    const std::int64_t angles = n.positions[i] * half;
    for (std::int64_t h = 0; h < n.count(); ++h) {
      const T* x = n.x + i * n.x_stride + h * n.head_dim;
      const T* weight = h < n.q_heads ? n.q_weight : n.k_weight;
      T* y = call.y + i * call.y_stride + h * n.head_dim;
      T* kept = n.rstd ? n.rstd + i * n.rstd_stride + h : nullptr;
      T rstd = 0;
      if (call.rstd_is_known) {
        rstd = *kept;
      } else {
        const T squares = row_sum<T>(n.head_dim, [x](std::int64_t j) { return x[j] * x[j]; });
        rstd = 1 / std::sqrt(squares / static_cast<T>(n.head_dim) + call.epsilon);
        if (kept) *kept = rstd;
      }
      for (std::int64_t j = 0; j < n.head_dim; ++j) y[j] = x[j] * rstd * weight[j];
      rotate<T>(y, y + half, n.cosine + angles, n.sine + angles, 1, half);
    }
  }
}

template <class T>
void head_norm_backward(const HeadNormBackward<T>& call) {
  const NormedHeads<T>& n = call.heads;
  const std::int64_t half = n.head_dim / 2;
  for (std::int64_t i = 0; i < n.tokens; ++i) {
    const std::int64_t angles = n.positions[i] * half;
    for (std::int64_t h = 0; h < n.count(); ++h) {
      const bool query = h < n.q_heads;
      const T* x = n.x + i * n.x_stride + h * n.head_dim;
      const T* weight = query ? n.q_weight : n.k_weight;
      T* d_weight = query ? call.d_q_weight : call.d_k_weight;
      T* d = call.d + i * call.d_stride + h * n.head_dim;
      const T rstd = n.rstd[i * n.rstd_stride + h];
      rotate<T>(d, d + half, n.cosine + angles, n.sine + angles, -1, half);
      const T dot = row_sum<T>(n.head_dim, [=](std::int64_t j) { return weight[j] * d[j] * x[j]; });
      const T factor = dot * rstd * rstd / static_cast<T>(n.head_dim);
      for (std::int64_t j = 0; j < n.head_dim; ++j) {
        if (d_weight) d_weight[j] += d[j] * x[j] * rstd;
        d[j] = rstd * (weight[j] * d[j] - x[j] * factor);
      }
    }
  }
}

template void head_norm_forward(const HeadNormForward<float>&);
template void head_norm_forward(const HeadNormForward<double>&);
template void head_norm_backward(const HeadNormBackward<float>&);
template void head_norm_backward(const HeadNormBackward<double>&);

}  // namespace alchemist::cpu
