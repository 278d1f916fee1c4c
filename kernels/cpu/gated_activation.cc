#include "kernels/gated_activation.h"

#include "kernels/cpu/exponential.h"

namespace alchemist::cpu {
namespace {

template <class T>
T sigmoid(T x) {
  return 1 / (1 + exponential(-x));
}

template <class T>
T gate_up_product(T gate, T up) {
  return gate * sigmoid(gate) * up;
}

}  // namespace

template <class T>
void gated_activation_forward(const GatedActivationForward<T>& call) {
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* gate = call.gate_up + i * 2 * call.width;
    const T* up = gate + call.width;
    T* gated = call.gated + i * call.width;
    for (std::int64_t j = 0; j < call.width; ++j) gated[j] = gate_up_product(gate[j], up[j]);
    if (call.record.base) keep_row(call.record, i, gate, 2 * call.width * static_cast<std::int64_t>(sizeof(T)));
  }
}

template <class T>
void gated_activation_backward(const GatedActivationBackward<T>& call) {
  for (std::int64_t i = 0; i < call.tokens; ++i) {
    const T* gate = call.gate_up + i * 2 * call.width;
    const T* up = gate + call.width;
    const T* d_gated = call.d_gated + i * call.width;
    T* d_gate = call.d_gate_up + i * 2 * call.width;
    T* d_up = d_gate + call.width;
    for (std::int64_t j = 0; j < call.width; ++j) {
      const T g = gate[j], u = up[j], d = d_gated[j], s = sigmoid(g);
      if (call.gated) call.gated[i * call.width + j] = gate_up_product(g, u);
      d_up[j] = d * g * s;
      d_gate[j] = d * u * s * (1 + g * (1 - s));
    }
  }
}

template void gated_activation_forward(const GatedActivationForward<float>&);
template void gated_activation_forward(const GatedActivationForward<double>&);
template void gated_activation_backward(const GatedActivationBackward<float>&);
template void gated_activation_backward(const GatedActivationBackward<double>&);

}  // namespace alchemist::cpu
