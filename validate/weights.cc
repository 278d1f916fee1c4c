#include "validate/weights.h"

#include <algorithm>
#include <cmath>

#include "kernels/rounding.h"
#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr double kDeviation = 0.02;  // of weights at the start, as GPT-2 and Llama are initialised

// The tensor of a layer that an entry begins; none for those that lie behind the first of their group.
template <class E>
E** place_in(LayerTensors<E*>& layer, const WeightEntry& entry) {
  switch (entry.role) {
    case WeightRole::kInputNorm:
      return &layer.input_norm;
    case WeightRole::kPostNorm:
      return &layer.post_norm;
    case WeightRole::kQNorm:
      return &layer.q_norm;
    case WeightRole::kKNorm:
      return &layer.k_norm;
    case WeightRole::kBias:
      return entry.module == LinearModule::kQ ? &layer.qkv_bias : nullptr;
    case WeightRole::kLoraA:
      return &layer.lora_a[static_cast<std::size_t>(entry.module)];
    case WeightRole::kLoraB:
      return &layer.lora_b[static_cast<std::size_t>(entry.module)];
    default:
      break;
  }
  switch (entry.module) {
    case LinearModule::kQ:
      return &layer.qkv;
    case LinearModule::kO:
      return &layer.o;
    case LinearModule::kGate:
      return &layer.gate_up;
    case LinearModule::kDown:
      return &layer.down;
    default:
      return nullptr;
  }
}

template <class E>
E** place_in(ModelTensors<E*>& model, const WeightEntry& entry) {
  if (entry.role == WeightRole::kEmbedding) return &model.embedding;
  if (entry.role == WeightRole::kFinalNorm) return &model.final_norm;
  if (entry.role == WeightRole::kHead) return &model.head;
  return place_in(model.layers[static_cast<std::size_t>(entry.layer)], entry);
}

// Points at every tensor of the table within the two arrays; a null array leaves its tensors null.
template <class E>
ModelTensors<E*> point_into(const WeightTable& table, const ModelShape& shape, E* model, E* adapters) {
  ModelTensors<E*> result;
  result.layers.resize(static_cast<std::size_t>(shape.layers));
  for (const WeightEntry& entry : table.entries) {
    E* array = entry.adapter() ? adapters : model;
    E** place = place_in(result, entry);
    if (array && place) *place = array + entry.offset;
  }
  if (shape.tied_embeddings) result.head = result.embedding;
  return result;
}

struct StartingValues {
  RandomKind kind;
  double scale;
};

StartingValues starting_values(const WeightEntry& entry) {
  switch (entry.role) {
    case WeightRole::kInputNorm:
    case WeightRole::kQNorm:
    case WeightRole::kKNorm:
    case WeightRole::kPostNorm:
    case WeightRole::kFinalNorm:
      return {RandomKind::kConstant, 1};
    case WeightRole::kLoraA:
      return {RandomKind::kUniform, 1 / std::sqrt(static_cast<double>(entry.shape.back()))};  // Kaiming's, a = sqrt(5)
    case WeightRole::kLoraB:
      return {RandomKind::kConstant, 0};
    default:
      return {RandomKind::kNearNormal, kDeviation};
  }
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
      shape_(options.shape),
      table_(weight_table(options.shape, options.training)),
      full_(options.training.method == TrainingMethod::full),
      model_(device, table_.model_count),
      adapters_(device, table_.adapter_count) {
  read_trained_from(nullptr);
  for (const WeightEntry& entry : table_.entries) {
    const StartingValues start = starting_values(entry);
    device.run(RandomFill<T>{place(entry), entry.count(), mix64(options.seed, hash_name(entry.name)), start.kind,
                             start.scale});
  }
  gradients_.layers.resize(static_cast<std::size_t>(options.shape.layers));
  if (!options.train) return;
  const std::int64_t count = trained().size();
  gradient_ = DeviceArray<A>(device, count);
  first_moment_ = DeviceArray<A>(device, count);
  second_moment_ = DeviceArray<A>(device, count);
  for (DeviceArray<A>* array : {&gradient_, &first_moment_, &second_moment_}) array->fill_zero();
  if constexpr (!std::is_same_v<T, A>) master_ = DeviceArray<A>(device, count);
  if constexpr (!std::is_same_v<T, A>) set_master(0, trained().download());
  gradients_ =
      point_into<A>(table_, options.shape, full_ ? gradient_.data() : nullptr, full_ ? nullptr : gradient_.data());
}

// The master weights are what the parameters are rounded from.
template <class T>
void Weights<T>::set_master(std::int64_t first, std::span<const T> values) {
  if constexpr (!std::is_same_v<T, A>) {
    if (master_.size() == 0) return;
    std::vector<A> precise(values.size());
    std::transform(values.begin(), values.end(), precise.begin(),
                   [](T value) { return static_cast<A>(from_element(value)); });
    device_.upload(master_.data() + first, precise.data(), static_cast<std::int64_t>(precise.size() * sizeof(A)));
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
std::vector<double> Weights<T>::trained_parameters() const {
  return to_doubles(trained().download());
}

template <class T>
void Weights<T>::set_trained_parameters(std::span<const double> values) {
  check(static_cast<std::int64_t>(values.size()) == trained().size(), "one value for each trained parameter");
  std::vector<T> elements(values.size());
  std::transform(values.begin(), values.end(), elements.begin(), to_element<T>);
  trained().upload(elements);
  set_master(0, elements);
}

template <class T>
void Weights<T>::copy_trained(std::byte* to) const {
  device_.run(RowCopy{reinterpret_cast<const std::byte*>(trained().data()), to, 1, trained_bytes(), trained_bytes(),
                      trained_bytes()});
}

template <class T>
void Weights<T>::read_trained_from(const std::byte* copy) {
  tensors_ = tensors_with(copy);
}

template <class T>
ModelTensors<const T*> Weights<T>::tensors_with(const std::byte* copy) const {
  const T* trained_weights = copy ? reinterpret_cast<const T*>(copy) : trained().data();
  const T* adapters = full_ ? adapters_.data() : trained_weights;
  return point_into<const T>(table_, shape_, full_ ? trained_weights : model_.data(),
                             table_.adapter_count > 0 ? adapters : nullptr);
}

template <class T>
std::vector<double> Weights<T>::trained_gradients() const {
  return to_doubles(gradient_.download());
}

template <class T>
std::vector<double> Weights<T>::values(const WeightEntry& entry) const {
  return download_part(device_, place(entry), entry.count());
}

template <class T>
void Weights<T>::set_values(const WeightEntry& entry, std::span<const double> values) {
  check(static_cast<std::int64_t>(values.size()) == entry.count(), "one value for each element");
  std::vector<T> elements(values.size());
  std::transform(values.begin(), values.end(), elements.begin(), to_element<T>);
  device_.upload(place(entry), elements.data(), static_cast<std::int64_t>(elements.size() * sizeof(T)));
  if (entry.adapter() != full_) set_master(entry.offset, elements);
}

template <class T>
std::vector<double> Weights<T>::gradient_values(const WeightEntry& entry) const {
  if (entry.adapter() == full_ || gradient_.size() == 0) return {};
  return download_part(device_, gradient_.data() + entry.offset, entry.count());
}

template class Weights<float>;
template class Weights<double>;
template class Weights<BFloat16>;

}  // namespace alchemist
