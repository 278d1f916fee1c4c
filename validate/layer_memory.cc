#include <functional>

#include "validate/layer_run.h"

namespace alchemist {

template <class T>
LayerActivations<T> LayerActivations<T>::from_row(const ModelShape& shape, std::int64_t row) const {
  LayerActivations<T> part = *this;
  part.x += row * shape.hidden;
  part.linear += row * (shape.q_width() + 2 * shape.kv_width());
  part.qkv += row * (shape.q_width() + 2 * shape.kv_width());
  part.attention += row * shape.q_width();
  part.x_mid += row * shape.hidden;
  part.gate_up += row * 2 * shape.intermediate;
  part.lse += row * shape.heads;
  part.rstd1 += row;
  part.rstd2 += row;
  if (shape.qk_norm) part.head_rstd += row * (shape.heads + shape.kv_heads);
  part.positions += row;
  return part;
}

namespace {

// Hands out parts of one allocation, each aligned for the widest accesses; without memory it only counts.
class Divider {
 public:
  explicit Divider(std::byte* memory) : memory_(memory) {}
  template <class E>
  void take(E*& pointer, std::int64_t count) {
    if (memory_) pointer = reinterpret_cast<E*>(memory_ + used_);
    used_ += (count * static_cast<std::int64_t>(sizeof(E)) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::int64_t used() const { return used_; }

 private:
  static constexpr std::int64_t kAlignment = 256;
  std::byte* memory_;
  std::int64_t used_ = 0;
};

template <class T>
std::int64_t divide(std::byte* memory, const DecoderOptions& options, std::int64_t rows, bool training,
                    LayerActivations<T>& act, LayerScratch<T>& scratch) {
  const ModelShape& s = options.shape;
  const std::int64_t qkv = s.q_width() + 2 * s.kv_width();
  const std::int64_t rank = options.training.method == TrainingMethod::lora ? options.training.lora_rank : 0;
  Divider divider(memory);
  divider.take(act.x, rows * s.hidden);
  divider.take(act.qkv, rows * qkv);
  act.linear = act.qkv;
  if (s.qk_norm) {
    divider.take(act.linear, rows * qkv);
    divider.take(act.head_rstd, rows * (s.heads + s.kv_heads));
  }
  divider.take(act.attention, rows * s.q_width());
  divider.take(act.x_mid, rows * s.hidden);
  divider.take(act.gate_up, rows * 2 * s.intermediate);
  divider.take(act.lse, rows * s.heads);
  divider.take(act.rstd1, rows);
  divider.take(act.rstd2, rows);
  divider.take(act.positions, rows);
  divider.take(scratch.normed, rows * s.hidden);
  divider.take(scratch.gated, rows * s.intermediate);
  divider.take(scratch.branch, rows * s.hidden);
  divider.take(scratch.adapter, kGroupModules * rows * rank);
  if (training) {
    divider.take(scratch.d_adapter, kGroupModules * rows * rank);
    divider.take(scratch.d_gated, rows * s.intermediate);
    divider.take(scratch.d_attention, rows * s.q_width());
    divider.take(scratch.d_qkv, rows * qkv);
  }
  return divider.used();
}

}  // namespace

template <class T>
LayerMemory<T>::LayerMemory(Device<T>& device, const DecoderOptions& options, std::int64_t rows, bool training)
    : memory_(device, divide(nullptr, options, rows, training, activations_, scratch_)) {
  divide(memory_.data(), options, rows, training, activations_, scratch_);
}

template struct LayerActivations<float>;
template struct LayerActivations<double>;
template struct LayerActivations<BFloat16>;
template class LayerMemory<float>;
template class LayerMemory<double>;
template class LayerMemory<BFloat16>;

}  // namespace alchemist
