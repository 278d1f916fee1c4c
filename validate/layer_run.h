// The operators of one decoder layer in order, forward and backward, over activations in device memory. Whoever calls
// decides where activations come from and where attention finds its keys: serving in the paged cache, training in rows.
#pragma once

#include "validate/decoder.h"
#include "validate/device_array.h"
#include "validate/weights.h"

namespace alchemist {

// The activations of `capacity` rows in one layer; names as in the layer graph. Each is contiguous, row by row.
template <class T>
struct LayerActivations {
  using A = Accumulator<T>;
  T* x = nullptr;          // [rows, hidden]
  T* linear = nullptr;     // [rows, q_width + 2 kv_width]: q, k and v as the products make them
  T* qkv = nullptr;        // as linear: q and k as attention reads them. Without norms of heads the same memory
  T* attention = nullptr;  // [rows, q_width]
  T* x_mid = nullptr;      // [rows, hidden]
  T* gate_up = nullptr;    // [rows, 2 intermediate]
  A* lse = nullptr;        // [rows, heads]
  A* rstd1 = nullptr;      // [rows]
  A* rstd2 = nullptr;      // [rows]
  A* head_rstd = nullptr;  // [rows, heads + kv_heads]; null without norms of heads
  std::int32_t* positions = nullptr;  // [rows], in the sequence

  LayerActivations from_row(const ModelShape& shape, std::int64_t row) const;
  T* keys(const ModelShape& shape) const { return qkv + shape.q_width(); }
  T* values(const ModelShape& shape) const { return linear + shape.q_width() + shape.kv_width(); }
};

inline constexpr std::int64_t kGroupModules = 3;  // at most, in one product: q, k, v

// What is not kept: overwritten by each layer.
template <class T>
struct LayerScratch {
  T* normed = nullptr;   // [rows, hidden]: n1, n2
  T* gated = nullptr;    // [rows, intermediate]
  T* branch = nullptr;   // [rows, hidden]: output of o and down; gradients of n1 and n2
  T* adapter = nullptr;  // [rows, adapters of the group * rank]: x A^T; room for kGroupModules adapters
  // Training alone:
  T* d_adapter = nullptr;    // as adapter
  T* d_gated = nullptr;      // [rows, intermediate]
  T* d_attention = nullptr;  // [rows, q_width]
  T* d_qkv = nullptr;        // [rows, q_width + 2 kv_width]
};

// Device memory for both.
template <class T>
class LayerMemory {
 public:
  LayerMemory() = default;
  LayerMemory(Device<T>& device, const DecoderOptions& options, std::int64_t rows, bool training);
  const LayerActivations<T>& activations() const { return activations_; }
  const LayerScratch<T>& scratch() const { return scratch_; }

 private:
  DeviceArray<std::byte> memory_;
  LayerActivations<T> activations_;
  LayerScratch<T> scratch_;
};

// Rows of which operators that have them in hand keep what they read or make, and where; no base: not this tensor.
struct KeptRows {
  RowRange rows;
  PagedBytes x, rstd1, x_mid, rstd2, gate_up;
};

// Rows of a call whose adapters are those of `weights`.
template <class T>
struct AdapterRows {
  RowRange rows;
  const ModelTensors<const T*>* weights = nullptr;
};

template <class T>
class LayerRun {
 public:
  using A = Accumulator<T>;
  using Activations = LayerActivations<T>;
  LayerRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights);

  // x -> rstd1, qkv. Here and below what KeptRows says of some rows, ascending, is kept on the way, and AdapterRows,
  // which cover all rows, say whose adapters they have; none: all have those that the model reads.
  void to_qkv(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, std::int64_t rows,
              std::span<const KeptRows> kept = {}, std::span<const AdapterRows<T>> under = {});
  // Of what a record has, whose queries and keys are those in front of the norms of heads, what attention reads;
  // nothing to do without such norms. queries: linear, head_rstd -> qkv. keys: linear -> qkv, head_rstd.
  void make_queries(std::int32_t layer, const Activations& act, std::int64_t rows);
  void make_keys(std::int32_t layer, const Activations& act, std::int64_t rows);
  // The same of keys alone, in place: `rows` of them, `stride` elements apart.
  void make_keys(std::int32_t layer, T* keys, std::int64_t stride, const std::int32_t* positions, std::int64_t rows);
  // x, attention -> x_mid, rstd2, gate_up.
  void to_gate_up(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, std::int64_t rows,
                  std::span<const KeptRows> kept = {}, std::span<const AdapterRows<T>> under = {});
  // x_mid, rstd2 -> gate_up.
  void rebuild_gate_up(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, std::int64_t rows,
                       std::span<const AdapterRows<T>> under = {});
  // x_mid, gate_up -> y [rows, hidden], the next layer's x.
  void to_output(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* y, std::int64_t rows,
                 std::span<const KeptRows> kept = {}, std::span<const AdapterRows<T>> under = {});

  // d y -> d x_mid in `gradient` [rows, hidden], d attention in the scratch; gate_up is overwritten by its gradient.
  void backward_mlp(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* gradient,
                    std::int64_t rows, std::span<const AdapterRows<T>> under = {});
  // d x_mid, scratch.d_qkv (before the inverse rotation) -> d x in `gradient`.
  void backward_qkv(std::int32_t layer, const Activations& act, const LayerScratch<T>& scratch, T* gradient,
                    std::int64_t rows, std::span<const AdapterRows<T>> under = {});

  const A* cosine() const { return cosine_.data(); }
  const A* sine() const { return sine_.data(); }

 private:
  // A module within the product that computes its group: where its output begins in a row.
  struct Module {
    LinearModule module;
    std::int64_t column;
  };
  // One product of several modules that read the same input.
  struct Group {
    const T* weight;
    const T* bias;
    A* d_weight;
    A* d_bias;
    std::int64_t in;
    std::int64_t out;
    std::span<const Module> modules;
  };
  // The adapters of a group. What they make of an input lies side by side, `width` columns in a row.
  struct Adapter {
    std::int64_t out_column;  // in the group's output
    std::int64_t column;      // in the width
    std::int64_t out;
    const T* b;
    A* d_b;
  };
  struct Adapters {
    const T* a = nullptr;  // [width, in]
    A* d_a = nullptr;      // null if not trained
    std::int64_t width = 0;
    std::vector<Adapter> parts;
  };
  // What the calls of one layer have in common.
  struct Rows {
    std::int32_t layer;
    std::int64_t count;
    std::span<const AdapterRows<T>> under;
  };
  Group group(std::int32_t layer, LinearModule first) const;
  Adapters adapters(std::int32_t layer, const Group& group, const ModelTensors<const T*>& weights) const;
  // run(first row, rows, adapters) for all rows, if the group has any adapter.
  template <class Run>
  void for_adapters(const Rows& rows, const Group& group, const Run& run) const;
  void linear(const Rows& rows, const Group& group, const T* x, T* y, const LayerScratch<T>& scratch);
  // d_x = d_y W, adapters included, whose d a = scale * d y B stay in the scratch for weight_gradient(), which follows.
  void input_gradient(const Rows& rows, const Group& group, const T* d_y, T* d_x, const LayerScratch<T>& scratch);
  void weight_gradient(const Rows& rows, const Group& group, const T* x, const T* d_y, const LayerScratch<T>& scratch);
  bool trains(std::int32_t layer, const Group& group) const;
  // run(first row, rows, where they are kept) for all rows, in ranges of which the tensor is kept as a whole or not at
  // all.
  template <class Run>
  static void for_ranges(std::int64_t rows, std::span<const KeptRows> kept, PagedBytes KeptRows::*tensor,
                         const Run& run);
  void rotate(T* rows_of_qkv, const std::int32_t* positions, std::int64_t rows, bool inverse);
  // Both kinds of heads of `rows` rows.
  NormedHeads<T> normed_heads(std::int32_t layer, const Activations& act, std::int64_t rows) const;
  std::int64_t qkv_width() const { return shape_.q_width() + 2 * shape_.kv_width(); }

  Device<T>& device_;
  const ModelShape& shape_;
  const TrainingShape& training_;
  const Weights<T>& weights_;
  A epsilon_;
  A lora_scale_;
  std::vector<Module> qkv_, o_, gate_up_, down_;
  DeviceArray<A> cosine_, sine_;  // [max_position, head_dim / 2]
};

}  // namespace alchemist
