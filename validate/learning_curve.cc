#include "validate/learning_curve.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr std::uint64_t kHeldOut = std::uint64_t{1} << 32;  // the first number of a batch that is never trained

class Training {
 public:
  Training(Decoder& model, const LearningOptions& options)
      : model_(model),
        options_(options),
        training_(model, options.batch, options.recorded),
        fresh_(training_.make_records()) {}

  std::vector<LearningPoint> run(std::int32_t lag) {
    // Without a lag backward has the weights of the record anyway.
    keeps_weights_ = options_.recorded_backward && lag > 0;
    const std::int32_t ahead = std::min(lag, options_.steps - 1);  // batches behind the last one are never trained
    for (std::int32_t i = 0; i <= ahead; ++i) {
      waiting_.push_back({training_.batch(recorded_++), training_.make_records(),
                          waiting_.empty() ? weights_of_now() : waiting_.back().weights});
      training_.record(waiting_.back().batch, waiting_.back().records);
    }
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
      take_step();
    }
    return curve;
  }

 private:
  struct Recorded {
    SampleBatch batch;
    RowRecords records;
    std::shared_ptr<const DeviceArray<std::byte>> weights;  // that it was recorded under, if they are kept
  };

  std::shared_ptr<const DeviceArray<std::byte>> weights_of_now() {
    if (!keeps_weights_) return nullptr;
    auto copy = std::make_shared<DeviceArray<std::byte>>(model_.device(), model_.trained_bytes());
    model_.copy_trained(copy->data());
    return copy;
  }

  // Trains the oldest record; its memory takes the next batch, under the new weights.
  void take_step() {
    Recorded oldest = std::move(waiting_.front());
    waiting_.pop_front();
    training_.gradient(oldest.batch, oldest.records, oldest.weights ? oldest.weights->data() : nullptr);
    model_.optimizer_step();
    oldest.batch = training_.batch(recorded_++);
    training_.record(oldest.batch, oldest.records);
    oldest.weights.reset();  // which leaves their memory to the next ones
    oldest.weights = weights_of_now();
    waiting_.push_back(std::move(oldest));
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
  AgedTraining training_;
  RowRecords fresh_;
  std::deque<Recorded> waiting_;  // oldest first
  std::uint64_t recorded_ = 0;
  bool keeps_weights_ = false;
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

std::vector<LearningPoint> learning_curve(Decoder& model, const LearningOptions& options, std::int32_t lag) {
  check(lag >= 0 && options.steps >= 1 && options.every >= 1 && options.held_out >= 1, "a curve has points");
  return Training(model, options).run(lag);
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
