#include "validate/learning_curve.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr std::uint64_t kHeldOut = std::uint64_t{1} << 32;  // the first number of a batch that is never trained

class Training {
 public:
  Training(Decoder& model, const LearningOptions& options, std::span<const std::int32_t> lags)
      : model_(model),
        options_(options),
        lags_(lags.begin(), lags.end()),
        longest_(std::min(std::ranges::max(lags_), options.steps)),
        training_(model, options.batch, options.recorded),
        fresh_(training_.make_records()) {}

  std::vector<LearningPoint> run() {
    for (std::int32_t step = 0; step < longest_; ++step) plan(step);
    record(0);
    std::vector<LearningPoint> curve;
    for (std::int32_t step = 0;; ++step) {
      if (step % options_.every == 0 || step == options_.steps) {
        const double loss = held_out_loss();
        if (!std::isfinite(loss)) {
          if (step == 0) throw ConfigError("the loss is not finite before any training: expected weights that serve");
          break;
        }
        curve.push_back({step, loss});
      }
      if (step == options_.steps) break;
      train(step);
      record(step + 1);
    }
    return curve;
  }

 private:
  using Weights = std::shared_ptr<const DeviceArray<std::byte>>;
  struct Batch {
    SampleBatch samples;
    RowRecords records;
    std::vector<Weights> weights;  // by sample: that it was recorded under, if they are kept
  };

  std::int32_t lag_of(std::int32_t step, std::int32_t sample) const {
    const std::int64_t number = std::int64_t{step} * options_.batch.samples + sample;
    return lags_[static_cast<std::size_t>(number % std::ssize(lags_))];
  }

  // When the samples of a step are recorded: it is asked for before the first of them is. Batches behind the last one
  // are never trained.
  void plan(std::int32_t step) {
    if (step >= options_.steps) return;
    for (std::int32_t sample = 0; sample < options_.batch.samples; ++sample) {
      due_[std::max(0, step - lag_of(step, sample))][step].push_back(sample);
    }
  }

  // What is due under the weights of now, before step `now`.
  void record(std::int32_t now) {
    plan(now + longest_);
    const auto due = due_.find(now);
    if (due == due_.end()) return;
    Weights weights;
    for (const auto& [step, samples] : due->second) {
      Batch& batch = batch_of(step);
      training_.record(batch.samples, batch.records, samples);
      for (const std::int32_t sample : samples) {
        // Without a lag backward has the weights of the record anyway.
        if (!options_.recorded_backward || lag_of(step, sample) == 0) continue;
        if (!weights) weights = weights_of_now();
        batch.weights[static_cast<std::size_t>(sample)] = weights;
      }
    }
    due_.erase(due);
  }

  Batch& batch_of(std::int32_t step) {
    if (const auto found = waiting_.find(step); found != waiting_.end()) return found->second;
    if (free_.empty()) free_.push_back(training_.make_records());
    Batch batch{training_.batch(static_cast<std::uint64_t>(step)), std::move(free_.back()),
                std::vector<Weights>(static_cast<std::size_t>(options_.batch.samples))};
    free_.pop_back();
    return waiting_.emplace(step, std::move(batch)).first->second;
  }

  Weights weights_of_now() {
    auto copy = std::make_shared<DeviceArray<std::byte>>(model_.device(), model_.trained_bytes());
    model_.copy_trained(copy->data());
    return copy;
  }

  // Leaves the memory of its records and of their weights to the next ones.
  void train(std::int32_t step) {
    const auto found = waiting_.find(step);
    Batch& batch = found->second;
    std::vector<const std::byte*> under;
    for (const Weights& weights : batch.weights) under.push_back(weights ? weights->data() : nullptr);
    training_.gradient(batch.samples, batch.records, under);
    model_.optimizer_step();
    free_.push_back(std::move(batch.records));
    waiting_.erase(found);
  }

  double held_out_loss() {
    double sum = 0;
    for (std::int32_t i = 0; i < options_.held_out; ++i) {
      sum += training_.loss(training_.batch(kHeldOut + static_cast<std::uint64_t>(i)), fresh_);
    }
    return sum / options_.held_out;
  }

  Decoder& model_;
  LearningOptions options_;
  std::vector<std::int32_t> lags_;
  std::int32_t longest_;  // lag, in steps that there are
  AgedTraining training_;
  RowRecords fresh_;
  std::map<std::int32_t, std::map<std::int32_t, std::vector<std::int32_t>>> due_;  // samples by moment and step
  std::map<std::int32_t, Batch> waiting_;                                          // by step
  std::vector<RowRecords> free_;
};

}  // namespace

std::vector<Decoder::NamedTensor> pretrained_weights(Decoder& model, const LearningOptions& options,
                                                     std::int32_t steps) {
  SampleBatchShape other = options.batch;
  ++other.source;
  AgedTraining training(model, other, options.recorded);
  const RowRecords records = training.make_records();
  for (std::int32_t step = 0; step < steps; ++step) {
    const SampleBatch batch = training.batch(static_cast<std::uint64_t>(step));
    training.record(batch, records);
    training.gradient(batch, records);
    model.optimizer_step();
  }
  return model.named_weights();
}

std::vector<LearningPoint> learning_curve(Decoder& model, const LearningOptions& options,
                                          std::span<const std::int32_t> lags) {
  check(options.steps >= 1 && options.every >= 1 && options.held_out >= 1, "a curve has points");
  check(!lags.empty() && std::ranges::min(lags) >= 0, "every sample has an age");
  return Training(model, options, lags).run();
}

std::optional<double> steps_to_final_loss(const std::vector<LearningPoint>& reference,
                                          const std::vector<LearningPoint>& curve) {
  check(!reference.empty() && !curve.empty(), "a curve has points");
  const double loss = curve.back().loss;
  const LearningPoint* before = &reference.front();
  for (const LearningPoint& point : reference) {
    if (point.loss <= loss) {
      const double part = point.loss == before->loss ? 0 : (before->loss - loss) / (before->loss - point.loss);
      return before->step + part * (point.step - before->step);
    }
    before = &point;
  }
  return std::nullopt;
}

}  // namespace alchemist
