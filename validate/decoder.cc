#include "validate/decoder.h"

#include <optional>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "validate/serving_run.h"
#include "validate/training_run.h"

namespace alchemist {
namespace {

template <class T>
class DecoderOf final : public Decoder {
 public:
  DecoderOf(Device<T>& device, const DecoderOptions& options)
      : device_(device),
        options_(checked(options)),
        weights_(device, options_),
        layers_(device, options_, weights_),
        serving_(device, options_, weights_, layers_) {
    if (options_.train) training_.emplace(device, options_, weights_, layers_);
  }

  const DecoderOptions& options() const override { return options_; }
  DeviceMemory& device() override { return device_; }
  std::int64_t page_bytes() const override { return serving_.page_bytes(); }

  void use_arena(std::byte* arena) override { serving_.use_arena(arena); }
  void step(std::span<const SequenceStep> batch, std::span<std::int32_t> next) override { serving_.step(batch, next); }

  void begin_micro_batch(std::span<const TrainingSample> samples, bool resumes,
                         std::span<const RowsUnder> under) override {
    training().begin(samples, resumes, under);
  }
  void forward_layer(const LayerForward& call) override { training().forward_layer(call); }
  HeadResult head(const HeadCall& call) override { return training().head(call); }
  void backward_layer(const LayerBackward& call) override { training().backward_layer(call); }
  void optimizer_step() override {
    version_ = WeightVersion(version_.value() + 1);
    weights_.optimize(options_.optimizer, version_.value());
  }
  WeightVersion version() const override { return version_; }

  std::vector<double> trained_parameters() override { return weights_.trained_parameters(); }
  void set_trained_parameters(std::span<const double> values) override { weights_.set_trained_parameters(values); }
  std::vector<double> gradients() override { return weights_.trained_gradients(); }
  std::int64_t trained_bytes() const override { return weights_.trained_bytes(); }
  void copy_trained(std::byte* to) override { weights_.copy_trained(to); }
  void read_trained_from(const std::byte* copy) override { weights_.read_trained_from(copy); }
  void zero_gradients() override { weights_.zero_gradients(); }

  std::vector<WeightName> weight_names() const override {
    std::vector<WeightName> result;
    for (const WeightEntry& entry : weights_.table().entries) {
      result.push_back({entry.name, entry.shape, entry.adapter()});
    }
    return result;
  }
  std::vector<NamedTensor> named_weights() override {
    std::vector<NamedTensor> result;
    for (const WeightEntry& entry : weights_.table().entries) {
      result.push_back({entry.name, entry.shape, weights_.values(entry)});
    }
    return result;
  }
  std::vector<NamedTensor> named_gradients() override {
    std::vector<NamedTensor> result;
    for (const WeightEntry& entry : weights_.table().entries) {
      std::vector<double> values = weights_.gradient_values(entry);
      if (!values.empty()) result.push_back({entry.name, entry.shape, std::move(values)});
    }
    return result;
  }
  void set_named_weight(const NamedTensor& tensor) override {
    for (const WeightEntry& entry : weights_.table().entries) {
      if (entry.name != tensor.name) continue;
      check(entry.shape == tensor.shape, "a tensor has the shape of the weight of its name");
      weights_.set_values(entry, tensor.values);
      return;
    }
    check(false, "a weight of this name exists");
  }

 private:
  static DecoderOptions checked(DecoderOptions options) {
    check(options.shape.dtype_bytes == static_cast<std::int64_t>(sizeof(T)), "the shape's elements are the device's");
    check(options.shape.head_dim % 2 == 0, "rotary embedding pairs the elements of a head");
    return options;
  }
  TrainingRun<T>& training() {
    check(training_.has_value(), "a model that is trained was made for it");
    return *training_;
  }

  Device<T>& device_;
  DecoderOptions options_;
  Weights<T> weights_;
  LayerRun<T> layers_;
  ServingRun<T> serving_;
  std::optional<TrainingRun<T>> training_;
  WeightVersion version_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(Device<float>& device, const DecoderOptions& options) {
  return std::make_unique<DecoderOf<float>>(device, options);
}
std::unique_ptr<Decoder> make_decoder(Device<double>& device, const DecoderOptions& options) {
  return std::make_unique<DecoderOf<double>>(device, options);
}
std::unique_ptr<Decoder> make_decoder(Device<BFloat16>& device, const DecoderOptions& options) {
  return std::make_unique<DecoderOf<BFloat16>>(device, options);
}

}  // namespace alchemist
