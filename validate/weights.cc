#include "validate/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/rounding.h"
#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {
namespace {

constexpr double kDeviation = 0.02;  // of weights at the start, as GPT-2 and Llama are initialised

// The sum of four uniform numbers, which is close to normal, scaled to deviation 1: one hash for each number, so that
// billions of weights are drawn in seconds.
double near_normal(std::uint64_t bits) {
  double sum = 0;
  for (int part = 0; part < 4; ++part) sum += static_cast<double>((bits >> (16 * part)) & 0xffff);
  return (sum / 65535.0 - 2) * std::sqrt(3.0);
}

double uniform(std::uint64_t bits) { return static_cast<double>(bits >> 11) / 9007199254740992.0 * 2 - 1; }

// Points at every tensor of the table within the two arrays; a null array leaves its tensors null.
template <class E>
ModelTensors<E*> point_into(const WeightTable& table, const ModelShape& shape, E* model, E* adapters) {
  ModelTensors<E*> result;
  result.layers.resize(static_cast<std::size_t>(shape.layers));
  const auto set = [](E*& pointer, E* to) {
    if (!pointer) pointer = to;  // the first of a group stands for the group
  };
  for (const WeightEntry& entry : table.entries) {
    E* array = entry.adapter ? adapters : model;
    if (!array) continue;
    E* at = array + entry.offset;
    const auto named = [&](std::string_view part) { return entry.name.find(part) != std::string::npos; };
    if (named("embed_tokens")) result.embedding = at;
    if (named("model.norm")) result.final_norm = at;
    if (named("lm_head")) result.head = at;
    if (!named("layers.")) continue;
    LayerTensors<E*>& layer =
        result
            .layers[static_cast<std::size_t>(std::stoll(entry.name.substr(std::string_view("model.layers.").size())))];
    if (entry.adapter) {
      for (const LinearModule module : kLinearModules) {
        if (!named(fmt::format(".{}_proj.", module_name(module)))) continue;
        const auto index = static_cast<std::size_t>(module);
        (named("lora_A") ? layer.lora_a : layer.lora_b)[index] = at;
      }
      continue;
    }
    if (named("input_layernorm")) layer.input_norm = at;
    if (named("post_attention_layernorm")) layer.post_norm = at;
    if (named(".bias")) {
      set(layer.qkv_bias, at);
    } else if (named(".q_proj") || named(".k_proj") || named(".v_proj")) {
      set(layer.qkv, at);
    }
    if (named(".o_proj")) layer.o = at;
    if (named(".gate_proj") || named(".up_proj")) set(layer.gate_up, at);
    if (named(".down_proj")) layer.down = at;
  }
  if (shape.tied_embeddings) result.head = result.embedding;
  return result;
}

template <class E>
std::vector<double> to_doubles(const std::vector<E>& values) {
  std::vector<double> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(), [](E value) { return from_element(value); });
  return result;
}

template <class E>
std::vector<double> download_part(DeviceMemory& device, const E* from, std::int64_t count) {
  std::vector<E> values(static_cast<std::size_t>(count));
  device.download(values.data(), from, count * static_cast<std::int64_t>(sizeof(E)));
  return to_doubles(values);
}

}  // namespace

template <class T>
Weights<T>::Weights(Device<T>& device, const DecoderOptions& options)
    : device_(device),
      table_(weight_table(options.shape, options.training)),
      full_(options.training.method == TrainingMethod::full),
      model_(device, table_.model_count),
      adapters_(device, table_.adapter_count) {
  tensors_.layers.resize(static_cast<std::size_t>(options.shape.layers));
  const ModelTensors<T*> writable =
      point_into<T>(table_, options.shape, model_.data(), table_.adapter_count > 0 ? adapters_.data() : nullptr);
  tensors_.embedding = writable.embedding;
  tensors_.final_norm = writable.final_norm;
  tensors_.head = writable.head;
  for (std::size_t l = 0; l < writable.layers.size(); ++l) {
    const LayerTensors<T*>& from = writable.layers[l];
    LayerTensors<const T*>& to = tensors_.layers[l];
    to = {from.input_norm, from.qkv, from.qkv_bias, from.o, from.post_norm, from.gate_up, from.down, {}, {}};
    std::copy(from.lora_a.begin(), from.lora_a.end(), to.lora_a.begin());
    std::copy(from.lora_b.begin(), from.lora_b.end(), to.lora_b.begin());
  }
  for (const WeightEntry& entry : table_.entries) start(entry, options.seed);
  gradients_.layers.resize(static_cast<std::size_t>(options.shape.layers));
  if (!options.train) return;
  const std::int64_t count = trained().size();
  gradient_ = DeviceArray<A>(device, count);
  first_moment_ = DeviceArray<A>(device, count);
  second_moment_ = DeviceArray<A>(device, count);
  for (DeviceArray<A>* array : {&gradient_, &first_moment_, &second_moment_}) array->fill_zero();
  if constexpr (!std::is_same_v<T, A>) master_ = DeviceArray<A>(device, count);
  copy_master();
  gradients_ =
      point_into<A>(table_, options.shape, full_ ? gradient_.data() : nullptr, full_ ? nullptr : gradient_.data());
}

template <class T>
void Weights<T>::start(const WeightEntry& entry, std::uint64_t seed) {
  std::vector<T> values(static_cast<std::size_t>(entry.count()));
  const std::uint64_t stream = mix64(seed, hash_name(entry.name));
  const double bound = 1 / std::sqrt(static_cast<double>(entry.shape.back()));  // LoRA's A: Kaiming's with a = sqrt(5)
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (entry.start) {
      case WeightEntry::Start::kNormal:
        values[i] = to_element<T>(kDeviation * near_normal(mix64(stream + i)));
        break;
      case WeightEntry::Start::kUniform:
        values[i] = to_element<T>(bound * uniform(mix64(stream + i)));
        break;
      case WeightEntry::Start::kOnes:
        values[i] = to_element<T>(1);
        break;
      case WeightEntry::Start::kZeros:
        values[i] = to_element<T>(0);
        break;
    }
  }
  T* at = (entry.adapter ? adapters_ : model_).data() + entry.offset;
  device_.upload(at, values.data(), static_cast<std::int64_t>(values.size() * sizeof(T)));
}

// The master weights are what the parameters are rounded from.
template <class T>
void Weights<T>::copy_master() {
  if constexpr (!std::is_same_v<T, A>) {
    if (master_.size() == 0) return;
    const std::vector<T> values = trained().download();
    std::vector<A> precise(values.size());
    std::transform(values.begin(), values.end(), precise.begin(),
                   [](T value) { return static_cast<A>(from_element(value)); });
    master_.upload(precise);
  }
}

template <class T>
void Weights<T>::optimize(const AdamWSettings& settings, std::int64_t step) {
  check(gradient_.size() > 0, "a model that is trained has gradients");
  AdamW<T> call{};
  call.parameters = trained().data();
  call.master = master_.data();
  call.gradient = gradient_.data();
  call.first_moment = first_moment_.data();
  call.second_moment = second_moment_.data();
  call.count = trained().size();
  call.settings = settings;
  call.correction1 = 1 - std::pow(settings.beta1, static_cast<double>(step));
  call.correction2 = 1 - std::pow(settings.beta2, static_cast<double>(step));
  device_.run(call);
}

template <class T>
std::int64_t Weights<T>::state_bytes() const {
  return gradient_.bytes() + first_moment_.bytes() + second_moment_.bytes() + master_.bytes();
}

template <class T>
std::vector<double> Weights<T>::trained_parameters() const {
  return to_doubles(trained().download());
}

template <class T>
void Weights<T>::set_trained_parameters(std::span<const double> values) {
  check(static_cast<std::int64_t>(values.size()) == trained().size(), "one value for each trained parameter");
  std::vector<T> elements(values.size());
  std::transform(values.begin(), values.end(), elements.begin(), to_element<T>);
  trained().upload(elements);
  copy_master();
}

template <class T>
std::vector<double> Weights<T>::trained_gradients() const {
  return to_doubles(gradient_.download());
}

template <class T>
std::vector<double> Weights<T>::values(const WeightEntry& entry) const {
  return download_part(device_, (entry.adapter ? adapters_ : model_).data() + entry.offset, entry.count());
}

template <class T>
void Weights<T>::set_values(const WeightEntry& entry, std::span<const double> values) {
  check(static_cast<std::int64_t>(values.size()) == entry.count(), "one value for each element");
  std::vector<T> elements(values.size());
  std::transform(values.begin(), values.end(), elements.begin(), to_element<T>);
  T* at = (entry.adapter ? adapters_ : model_).data() + entry.offset;
  device_.upload(at, elements.data(), static_cast<std::int64_t>(elements.size() * sizeof(T)));
  if (entry.adapter != full_) copy_master();
}

template <class T>
std::vector<double> Weights<T>::gradient_values(const WeightEntry& entry) const {
  if (entry.adapter == full_ || gradient_.size() == 0) return {};
  return download_part(device_, gradient_.data() + entry.offset, entry.count());
}

template class Weights<float>;
template class Weights<double>;
template class Weights<BFloat16>;

}  // namespace alchemist
