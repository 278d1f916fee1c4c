// The gated MLP's activation (SwiGLU, Shazeer 2020): gated = silu(gate) * up, silu(g) = g / (1 + exp(-g)).
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "kernels/record_copy.h"
#include "sim/base/operator_work.h"

namespace alchemist {

// Gate and up lie side by side in a row: gate_up[i, 0 .. width) is the gate, gate_up[i, width .. 2 width) is up.
template <class T>
struct GatedActivationForward {
  const T* gate_up;  // [tokens, 2 * width]
  T* gated;          // [tokens, width]
  std::int64_t tokens;
  std::int64_t width;
  // Where gate_up is kept as well, row behind row, so that it need not be read once more; no base: nowhere. Pages and
  // alignment as in RecordCopy.
  PagedBytes record = {};
};

// With s = 1 / (1 + exp(-gate)):
//   d_up = d_gated * gate * s;  d_gate = d_gated * up * s * (1 + gate * (1 - s))
// d_gate_up may be gate_up. Rebuilds the forward's output on the way, to the bit, where the weights behind it are
// trained.
template <class T>
struct GatedActivationBackward {
  const T* gate_up;  // [tokens, 2 * width]
  const T* d_gated;  // [tokens, width]
  T* d_gate_up;      // [tokens, 2 * width]
  T* gated;          // [tokens, width]: the forward's output; null if nobody needs it; may be d_gated
  std::int64_t tokens;
  std::int64_t width;
};

template <class T>
CallCost cost(const GatedActivationForward<T>& call) {
  const double tokens = static_cast<double>(call.tokens), width = static_cast<double>(call.width);
  return {tokens * gated_activation_work(call.width).vector_flops_per_token,
          tokens * (call.record.base ? 5 : 3) * width * sizeof(T)};
}
template <class T>
CallCost cost(const GatedActivationBackward<T>& call) {
  const double tokens = static_cast<double>(call.tokens), width = static_cast<double>(call.width);
  return {tokens * gated_activation_gradient_work(call.width).vector_flops_per_token,
          tokens * (call.gated ? 6 : 5) * width * sizeof(T)};
}

namespace cpu {
template <class T>
void gated_activation_forward(const GatedActivationForward<T>& call);
template <class T>
void gated_activation_backward(const GatedActivationBackward<T>& call);
}  // namespace cpu

namespace cuda {
void gated_activation_forward(const GatedActivationForward<BFloat16>& call, Stream stream);
void gated_activation_backward(const GatedActivationBackward<BFloat16>& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist
