// The weights of a decoder in device memory: all of a model in one array, its adapters in another, with the gradients
// and optimizer state of whichever of the two is trained.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "validate/decoder.h"
#include "validate/device_array.h"

namespace alchemist {

inline constexpr std::size_t kModules = std::size(kLinearModules);

// The tensors of one layer, as pointers P: to weights, or to gradients (null for what is not trained). q, k and v lie
// one behind the other, and so do gate and up, so that each group is one product; within a group, so do the lora_a of
// the modules that have an adapter.
template <class P>
struct LayerTensors {
  P input_norm{};                    // [hidden]
  P qkv{};                           // [q_width + 2 kv_width, hidden]
  P qkv_bias{};                      // [q_width + 2 kv_width], or null
  P q_norm{};                        // [head_dim], or null
  P k_norm{};                        // [head_dim], or null
  P o{};                             // [hidden, q_width]
  P post_norm{};                     // [hidden]
  P gate_up{};                       // [2 intermediate, hidden]
  P down{};                          // [hidden, intermediate]
  std::array<P, kModules> lora_a{};  // [rank, in], or null; by LinearModule
  std::array<P, kModules> lora_b{};  // [out, rank]
};

template <class P>
struct ModelTensors {
  P embedding{};   // [vocabulary, hidden]
  P final_norm{};  // [hidden]
  P head{};        // [vocabulary, hidden]; the embedding's if they are tied
  std::vector<LayerTensors<P>> layers;
};

// Width of a module's input and output.
std::int64_t module_in(const ModelShape& shape, LinearModule module);
std::int64_t module_out(const ModelShape& shape, LinearModule module);

enum class WeightRole : std::uint8_t {
  kEmbedding,
  kFinalNorm,
  kHead,
  kInputNorm,  // from here on: of a layer
  kQNorm,
  kKNorm,
  kPostNorm,
  kLinear,  // of a module
  kBias,
  kLoraA,
  kLoraB,
};

// One tensor's place in its array.
struct WeightEntry {
  std::string name;  // as HuggingFace names it; adapters as PEFT does
  std::vector<std::int64_t> shape;
  WeightRole role = WeightRole::kLinear;
  std::int64_t layer = 0;
  LinearModule module = LinearModule::kQ;
  std::int64_t offset = 0;

  bool adapter() const { return role == WeightRole::kLoraA || role == WeightRole::kLoraB; }  // in the adapters' array
  std::int64_t count() const;
};

struct WeightTable {
  std::vector<WeightEntry> entries;
  std::int64_t model_count = 0;
  std::int64_t adapter_count = 0;
};
WeightTable weight_table(const ModelShape& shape, const TrainingShape& training);

template <class T>
class Weights {
 public:
  using A = Accumulator<T>;
  // Random values by options.seed.
  Weights(Device<T>& device, const DecoderOptions& options);

  const ModelTensors<const T*>& tensors() const { return tensors_; }
  const ModelTensors<A*>& gradients() const { return gradients_; }
  const WeightTable& table() const { return table_; }

  // One step of AdamW over the trained array; `step` counts from 1.
  void optimize(const AdamWSettings& settings, std::int64_t step);

  std::vector<double> trained_parameters() const;
  void set_trained_parameters(std::span<const double> values);
  std::int64_t trained_bytes() const { return trained().bytes(); }
  void copy_trained(std::byte* to) const;
  void read_trained_from(const std::byte* copy);
  // All weights, the trained ones as in `copy`, or in the model's own array if that is null.
  ModelTensors<const T*> tensors_with(const std::byte* copy) const;
  std::vector<double> trained_gradients() const;
  void zero_gradients() { gradient_.fill_zero(); }
  std::vector<double> values(const WeightEntry& entry) const;
  void set_values(const WeightEntry& entry, std::span<const double> values);
  std::vector<double> gradient_values(const WeightEntry& entry) const;  // empty if it is not trained

 private:
  DeviceArray<T>& trained() { return full_ ? model_ : adapters_; }
  const DeviceArray<T>& trained() const { return full_ ? model_ : adapters_; }
  T* place(const WeightEntry& entry) const { return (entry.adapter() ? adapters_ : model_).data() + entry.offset; }
  void set_master(std::int64_t first, std::span<const T> values);

  Device<T>& device_;
  ModelShape shape_;
  WeightTable table_;
  bool full_;
  DeviceArray<T> model_, adapters_;
  DeviceArray<A> gradient_, first_moment_, second_moment_,
      master_;  // of the trained array; empty if nothing is trained
  ModelTensors<const T*> tensors_;
  ModelTensors<A*> gradients_;
};

}  // namespace alchemist
