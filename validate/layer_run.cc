#include "validate/layer_run.h"

#include <cmath>

#include "sim/base/check.h"

namespace alchemist {

template <class T>
LayerRun<T>::LayerRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights)
    : device_(device),
      shape_(options.shape),
      training_(options.training),
      weights_(weights),
      epsilon_(static_cast<A>(options.norm_epsilon)),
      lora_scale_(static_cast<A>(options.lora_alpha / static_cast<double>(options.training.lora_rank))),
      qkv_{{LinearModule::kQ, 0},
           {LinearModule::kK, shape_.q_width()},
           {LinearModule::kV, shape_.q_width() + shape_.kv_width()}},
      o_{{LinearModule::kO, 0}},
      gate_up_{{LinearModule::kGate, 0}, {LinearModule::kUp, shape_.intermediate}},
      down_{{LinearModule::kDown, 0}} {
  const std::int64_t half = shape_.head_dim / 2;
  std::vector<A> cosine(static_cast<std::size_t>(shape_.max_position * half)), sine(cosine.size());
  const std::vector<double> frequencies = rope_frequencies(options.rope, shape_.head_dim);
  for (std::int64_t position = 0; position < shape_.max_position; ++position) {
    for (std::int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(position) * frequencies[static_cast<std::size_t>(j)];
      const auto at = static_cast<std::size_t>(position * half + j);
      cosine[at] = static_cast<A>(std::cos(angle));
      sine[at] = static_cast<A>(std::sin(angle));
    }
  }
  cosine_ = DeviceArray<A>(device, static_cast<std::int64_t>(cosine.size()));
  sine_ = DeviceArray<A>(device, static_cast<std::int64_t>(sine.size()));
  cosine_.upload(cosine);
  sine_.upload(sine);
}

template <class T>
typename LayerRun<T>::Group LayerRun<T>::group(std::int32_t layer, LinearModule first) const {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  const LayerTensors<A*>& g = weights_.gradients().layers[static_cast<std::size_t>(layer)];
  const std::int64_t in = module_in(shape_, first);
  switch (first) {
    case LinearModule::kQ:
      return {w.qkv, w.qkv_bias, g.qkv, g.qkv_bias, in, shape_.q_width() + 2 * shape_.kv_width(), qkv_};
    case LinearModule::kO:
      return {w.o, nullptr, g.o, nullptr, in, shape_.hidden, o_};
    case LinearModule::kGate:
      return {w.gate_up, nullptr, g.gate_up, nullptr, in, 2 * shape_.intermediate, gate_up_};
    case LinearModule::kDown:
      return {w.down, nullptr, g.down, nullptr, in, shape_.hidden, down_};
    default:
      break;
  }
  check(false, "the first module of a group");
  return {};
}

template <class T>
typename LayerRun<T>::Adapters LayerRun<T>::adapters(std::int32_t layer, const Group& group,
                                                     const ModelTensors<const T*>& weights) const {
  const LayerTensors<const T*>& w = weights.layers[static_cast<std::size_t>(layer)];
  const LayerTensors<A*>& g = weights_.gradients().layers[static_cast<std::size_t>(layer)];
  Adapters result;
  for (const Module& part : group.modules) {
    const auto index = static_cast<std::size_t>(part.module);
    if (!w.lora_a[index]) continue;
    if (result.parts.empty()) result.a = w.lora_a[index], result.d_a = g.lora_a[index];
    result.parts.push_back(
        {part.column, result.width, module_out(shape_, part.module), w.lora_b[index], g.lora_b[index]});
    result.width += training_.lora_rank;
  }
  return result;
}

template <class T>
template <class Run>
void LayerRun<T>::for_adapters(const Rows& rows, const Group& group, const Run& run) const {
  if (rows.under.empty()) {
    const Adapters all = adapters(rows.layer, group, weights_.tensors());
    if (!all.parts.empty()) run(0, rows.count, all);
    return;
  }
  check(rows.under.front().rows.begin == 0 && rows.under.back().rows.end == rows.count, "every row has its adapters");
  for (const AdapterRows<T>& part : rows.under) {
    const Adapters all = adapters(rows.layer, group, *part.weights);
    if (!all.parts.empty()) run(part.rows.begin, part.rows.end - part.rows.begin, all);
  }
}

template <class T>
void LayerRun<T>::linear(const Rows& rows, const Group& group, const T* x, T* y, const LayerScratch<T>& scratch) {
  device_.run(LinearForward<T>{x, group.weight, group.bias, y, rows.count, group.in, group.out, group.in, group.out});
  for_adapters(rows, group, [&](std::int64_t first, std::int64_t count, const Adapters& all) {
    T* a = scratch.adapter + first * all.width;
    device_.run(
        LinearForward<T>{x + first * group.in, all.a, nullptr, a, count, group.in, all.width, group.in, all.width});
    for (const Adapter& part : all.parts) {
      device_.run(LinearForward<T>{a + part.column, part.b, nullptr, y + first * group.out + part.out_column, count,
                                   training_.lora_rank, part.out, all.width, group.out, lora_scale_, true});
    }
  });
}

template <class T>
void LayerRun<T>::input_gradient(const Rows& rows, const Group& group, const T* d_y, T* d_x,
                                 const LayerScratch<T>& scratch) {
  device_.run(LinearInputGradient<T>{d_y, group.weight, d_x, rows.count, group.in, group.out, group.out, group.in});
  for_adapters(rows, group, [&](std::int64_t first, std::int64_t count, const Adapters& all) {
    T* d_a = scratch.d_adapter + first * all.width;
    for (const Adapter& part : all.parts) {
      device_.run(LinearInputGradient<T>{d_y + first * group.out + part.out_column, part.b, d_a + part.column, count,
                                         training_.lora_rank, part.out, group.out, all.width, lora_scale_});
    }
    device_.run(LinearInputGradient<T>{d_a, all.a, d_x + first * group.in, count, group.in, all.width, all.width,
                                       group.in, A(1), true});
  });
}

template <class T>
void LayerRun<T>::weight_gradient(const Rows& rows, const Group& group, const T* x, const T* d_y,
                                  const LayerScratch<T>& scratch) {
  if (group.d_weight) {
    device_.run(LinearWeightGradient<T>{d_y, x, group.d_weight, group.d_bias, rows.count, group.in, group.out,
                                        group.out, group.in});
  }
  for_adapters(rows, group, [&](std::int64_t first, std::int64_t count, const Adapters& all) {
    if (!all.d_a) return;
    const T* input = x + first * group.in;
    T* a = scratch.adapter + first * all.width;
    device_.run(LinearForward<T>{input, all.a, nullptr, a, count, group.in, all.width, group.in, all.width});
    for (const Adapter& part : all.parts) {
      device_.run(LinearWeightGradient<T>{d_y + first * group.out + part.out_column, a + part.column, part.d_b, nullptr,
                                          count, training_.lora_rank, part.out, group.out, all.width, lora_scale_});
    }
    device_.run(LinearWeightGradient<T>{scratch.d_adapter + first * all.width, input, all.d_a, nullptr, count, group.in,
                                        all.width, all.width, group.in});
  });
}

template <class T>
bool LayerRun<T>::trains(std::int32_t layer, const Group& group) const {
  return group.d_weight || adapters(layer, group, weights_.tensors()).d_a;
}

template <class T>
template <class Run>
void LayerRun<T>::for_ranges(std::int64_t rows, std::span<const KeptRows> kept, PagedBytes KeptRows::*tensor,
                             const Run& run) {
  std::int64_t done = 0;
  const auto up_to = [&](std::int64_t end, const KeptRows& part) {
    check(end >= done && end <= rows, "rows that are kept ascend");
    if (end > done) run(done, end - done, part);
    done = end;
  };
  for (const KeptRows& part : kept) {
    if (!(part.*tensor).base) continue;
    up_to(part.rows.begin, {});
    up_to(part.rows.end, part);
  }
  up_to(rows, {});
}

template <class T>
void LayerRun<T>::rotate(T* rows_of_qkv, const std::int32_t* positions, std::int64_t rows, bool inverse) {
  // Queries and keys lie side by side: one call rotates the heads of both.
  device_.run(Rotary<T>{rows_of_qkv, positions, cosine_.data(), sine_.data(), rows, shape_.heads + shape_.kv_heads,
                        shape_.head_dim, qkv_width(), inverse});
}

template <class T>
NormedHeads<T> LayerRun<T>::normed_heads(std::int32_t layer, const Activations& act, std::int64_t rows) const {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  NormedHeads<T> heads{};
  heads.x = act.linear;
  heads.x_stride = qkv_width();
  heads.rstd = act.head_rstd;
  heads.rstd_stride = shape_.heads + shape_.kv_heads;
  heads.q_weight = w.q_norm;
  heads.k_weight = w.k_norm;
  heads.positions = act.positions;
  heads.cosine = cosine_.data();
  heads.sine = sine_.data();
  heads.tokens = rows;
  heads.q_heads = shape_.heads;
  heads.k_heads = shape_.kv_heads;
  heads.head_dim = shape_.head_dim;
  return heads;
}

template <class T>
void LayerRun<T>::make_queries(std::int32_t layer, const Activations& act, std::int64_t rows) {
  if (!shape_.qk_norm) return;
  NormedHeads<T> heads = normed_heads(layer, act, rows);
  heads.k_heads = 0;
  device_.run(HeadNormForward<T>{heads, act.qkv, qkv_width(), epsilon_, true});
}

template <class T>
void LayerRun<T>::make_keys(std::int32_t layer, const Activations& act, std::int64_t rows) {
  if (!shape_.qk_norm) return;
  NormedHeads<T> heads = normed_heads(layer, act, rows);
  heads.x += shape_.q_width();
  heads.rstd += shape_.heads;
  heads.q_heads = 0;
  device_.run(HeadNormForward<T>{heads, act.keys(shape_), qkv_width(), epsilon_});
}

template <class T>
void LayerRun<T>::make_keys(std::int32_t layer, T* keys, std::int64_t stride, const std::int32_t* positions,
                            std::int64_t rows) {
  if (!shape_.qk_norm) return;
  NormedHeads<T> heads = normed_heads(layer, {}, rows);
  heads.x = keys;
  heads.x_stride = stride;
  heads.positions = positions;
  heads.q_heads = 0;
  device_.run(HeadNormForward<T>{heads, keys, stride, epsilon_});
}

template <class T>
void LayerRun<T>::to_qkv(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, std::int64_t rows,
                         std::span<const KeptRows> kept, std::span<const AdapterRows<T>> under) {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  for_ranges(rows, kept, &KeptRows::x, [&](std::int64_t first, std::int64_t count, const KeptRows& part) {
    const std::int64_t at = first * shape_.hidden;
    device_.run(RmsNormForward<T>{act.x + at, nullptr, nullptr, w.input_norm, scratch.normed + at, act.rstd1 + first,
                                  count, shape_.hidden, epsilon_, part.x, part.rstd1});
  });
  linear({layer, rows, under}, group(layer, LinearModule::kQ), scratch.normed, act.linear, scratch);
  if (shape_.qk_norm) {
    device_.run(HeadNormForward<T>{normed_heads(layer, act, rows), act.qkv, qkv_width(), epsilon_});
  } else {
    rotate(act.qkv, act.positions, rows, false);
  }
}

template <class T>
void LayerRun<T>::to_gate_up(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch,
                             std::int64_t rows, std::span<const KeptRows> kept, std::span<const AdapterRows<T>> under) {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  linear({layer, rows, under}, group(layer, LinearModule::kO), act.attention, scratch.branch, scratch);
  for_ranges(rows, kept, &KeptRows::x_mid, [&](std::int64_t first, std::int64_t count, const KeptRows& part) {
    const std::int64_t at = first * shape_.hidden;
    device_.run(RmsNormForward<T>{act.x + at, scratch.branch + at, act.x_mid + at, w.post_norm, scratch.normed + at,
                                  act.rstd2 + first, count, shape_.hidden, epsilon_, part.x_mid, part.rstd2});
  });
  linear({layer, rows, under}, group(layer, LinearModule::kGate), scratch.normed, act.gate_up, scratch);
}

template <class T>
void LayerRun<T>::rebuild_gate_up(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch,
                                  std::int64_t rows, std::span<const AdapterRows<T>> under) {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  device_.run(RmsNormRebuild<T>{act.x_mid, act.rstd2, w.post_norm, scratch.normed, rows, shape_.hidden});
  linear({layer, rows, under}, group(layer, LinearModule::kGate), scratch.normed, act.gate_up, scratch);
}

template <class T>
void LayerRun<T>::to_output(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* y,
                            std::int64_t rows, std::span<const KeptRows> kept, std::span<const AdapterRows<T>> under) {
  for_ranges(rows, kept, &KeptRows::gate_up, [&](std::int64_t first, std::int64_t count, const KeptRows& part) {
    const std::int64_t at = first * shape_.intermediate;
    device_.run(
        GatedActivationForward<T>{act.gate_up + 2 * at, scratch.gated + at, count, shape_.intermediate, part.gate_up});
  });
  linear({layer, rows, under}, group(layer, LinearModule::kDown), scratch.gated, scratch.branch, scratch);
  device_.run(ResidualAdd<T>{act.x_mid, scratch.branch, y, rows * shape_.hidden});
}

template <class T>
void LayerRun<T>::backward_mlp(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* gradient,
                               std::int64_t rows, std::span<const AdapterRows<T>> under) {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  const LayerTensors<A*>& g = weights_.gradients().layers[static_cast<std::size_t>(layer)];
  const Group down = group(layer, LinearModule::kDown), gate_up = group(layer, LinearModule::kGate);
  const Group o = group(layer, LinearModule::kO);
  input_gradient({layer, rows, under}, down, gradient, scratch.d_gated, scratch);
  device_.run(GatedActivationBackward<T>{act.gate_up, scratch.d_gated, act.gate_up,
                                         trains(layer, down) ? scratch.gated : nullptr, rows, shape_.intermediate});
  weight_gradient({layer, rows, under}, down, scratch.gated, gradient, scratch);

  input_gradient({layer, rows, under}, gate_up, act.gate_up, scratch.branch, scratch);
  if (trains(layer, gate_up)) {
    device_.run(RmsNormRebuild<T>{act.x_mid, act.rstd2, w.post_norm, scratch.normed, rows, shape_.hidden});
    weight_gradient({layer, rows, under}, gate_up, scratch.normed, act.gate_up, scratch);
  }
  device_.run(RmsNormBackward<T>{act.x_mid, act.rstd2, w.post_norm, scratch.branch, gradient, g.post_norm, rows,
                                 shape_.hidden});

  input_gradient({layer, rows, under}, o, gradient, scratch.d_attention, scratch);
  weight_gradient({layer, rows, under}, o, act.attention, gradient, scratch);
}

template <class T>
void LayerRun<T>::backward_qkv(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* gradient,
                               std::int64_t rows, std::span<const AdapterRows<T>> under) {
  const LayerTensors<const T*>& w = weights_.tensors().layers[static_cast<std::size_t>(layer)];
  const LayerTensors<A*>& g = weights_.gradients().layers[static_cast<std::size_t>(layer)];
  const Group qkv = group(layer, LinearModule::kQ);
  if (shape_.qk_norm) {
    device_.run(HeadNormBackward<T>{normed_heads(layer, act, rows), scratch.d_qkv, qkv_width(), g.q_norm, g.k_norm});
  } else {
    rotate(scratch.d_qkv, act.positions, rows, true);
  }
  input_gradient({layer, rows, under}, qkv, scratch.d_qkv, scratch.branch, scratch);
  if (trains(layer, qkv)) {
    device_.run(RmsNormRebuild<T>{act.x, act.rstd1, w.input_norm, scratch.normed, rows, shape_.hidden});
    weight_gradient({layer, rows, under}, qkv, scratch.normed, scratch.d_qkv, scratch);
  }
  device_.run(
      RmsNormBackward<T>{act.x, act.rstd1, w.input_norm, scratch.branch, gradient, g.input_norm, rows, shape_.hidden});
}

template class LayerRun<float>;
template class LayerRun<double>;
template class LayerRun<BFloat16>;

}  // namespace alchemist
