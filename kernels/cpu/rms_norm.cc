#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/cpu/row_sum.h"

namespace alchemist::cpu {
namespace {

template <class T>
void scale_row(const T* x, T rstd, const T* weight, T* y, std::int64_t width) {
  for (std::int64_t j = 0; j < width; ++j) y[j] = x[j] * rstd * weight[j];
}

}  // namespace

template <class T>
void rms_norm_forward(const RmsNormForward<T>& call) {
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* x = call.x + i * call.width;
    if (call.branch) {
      const T* branch = call.branch + i * call.width;
      T* sum = call.sum + i * call.width;
      for (std::int64_t j = 0; j < call.width; ++j) sum[j] = x[j] + branch[j];
      x = sum;
    }
    if (call.record.base) keep_row(call.record, i, x, call.width * static_cast<std::int64_t>(sizeof(T)));
    const T squares = row_sum<T>(call.width, [x](std::int64_t j) { return x[j] * x[j]; });
    call.rstd[i] = 1 / std::sqrt(squares / static_cast<T>(call.width) + call.epsilon);
    if (call.rstd_record.base) keep_row(call.rstd_record, i, &call.rstd[i], sizeof(T));
    scale_row(x, call.rstd[i], call.weight, call.y + i * call.width, call.width);
  }
}

template <class T>
void rms_norm_rebuild(const RmsNormRebuild<T>& call) {
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    scale_row(call.x + i * call.width, call.rstd[i], call.weight, call.y + i * call.width, call.width);
  }
}

template <class T>
void rms_norm_backward(const RmsNormBackward<T>& call) {
  const T* weight = call.weight;
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* x = call.x + i * call.width;
    const T* d_y = call.d_y + i * call.width;
    T* d_x = call.d_x + i * call.width;
    const T rstd = call.rstd[i];
    const T dot = row_sum<T>(call.width, [=](std::int64_t j) { return weight[j] * d_y[j] * x[j]; });
    const T factor = dot * rstd * rstd / static_cast<T>(call.width);
    for (std::int64_t j = 0; j < call.width; ++j) d_x[j] += rstd * (weight[j] * d_y[j] - x[j] * factor);
    if (!call.d_weight) continue;
    for (std::int64_t j = 0; j < call.width; ++j) call.d_weight[j] += d_y[j] * x[j] * rstd;
  }
}

template void rms_norm_forward(const RmsNormForward<float>&);
template void rms_norm_forward(const RmsNormForward<double>&);
template void rms_norm_rebuild(const RmsNormRebuild<float>&);
template void rms_norm_rebuild(const RmsNormRebuild<double>&);
template void rms_norm_backward(const RmsNormBackward<float>&);
template void rms_norm_backward(const RmsNormBackward<double>&);

}  // namespace alchemist::cpu
