#include "validate/staleness.h"

#include <fmt/format.h>

#include <cmath>
#include <ostream>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

class Experiment {
 public:
  Experiment(Decoder& model, const StalenessOptions& options)
      : model_(model),
        options_(options),
        training_(model, options.batch, options.recorded),
        aged_(training_.make_records()),
        fresh_(training_.make_records()) {}

  std::vector<StalenessPoint> run() {
    std::vector<StalenessPoint> points;
    for (std::int32_t step = 0; step < options_.warm_up_steps; ++step) take_step();
    for (std::int32_t repeat = 0; repeat < options_.repeats; ++repeat) {
      const SampleBatch batch = next_batch();
      training_.record(batch, aged_);
      for (std::int32_t lag = 0; lag <= options_.max_lag; ++lag) {
        if (lag > 0) take_step();
        points.push_back(compare(batch));
        points.back().lag = lag;
        points.back().repeat = repeat;
      }
    }
    return points;
  }

 private:
  SampleBatch next_batch() { return training_.batch(batches_++); }

  HeadResult fresh_gradient(const SampleBatch& batch) {
    training_.record(batch, fresh_);
    return training_.gradient(batch, fresh_);
  }

  void take_step() {
    fresh_gradient(next_batch());
    model_.optimizer_step();
  }

  StalenessPoint compare(const SampleBatch& batch) {
    training_.gradient(batch, aged_);
    const std::vector<double> stale = model_.gradients();
    StalenessPoint point;
    point.loss = fresh_gradient(batch).loss;
    const std::vector<double> fresh = model_.gradients();
    double dot = 0, stale_square = 0, fresh_square = 0, difference = 0;
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      dot += stale[i] * fresh[i];
      stale_square += stale[i] * stale[i];
      fresh_square += fresh[i] * fresh[i];
      difference += (stale[i] - fresh[i]) * (stale[i] - fresh[i]);
    }
    for (const double square : {fresh_square, stale_square}) {
      if (square > 0 && std::isfinite(square)) continue;
      throw ConfigError(
          "the gradient is zero or not finite: expected weights, adapters and a learning rate that train");
    }
    point.cosine = dot / std::sqrt(stale_square * fresh_square);
    point.relative_error = std::sqrt(difference / fresh_square);
    return point;
  }

  Decoder& model_;
  StalenessOptions options_;
  AgedTraining training_;
  RowRecords aged_, fresh_;
  std::uint64_t batches_ = 1;  // taken so far: the first told their rows
};

}  // namespace

std::vector<StalenessPoint> measure_staleness(Decoder& model, const StalenessOptions& options) {
  check(options.max_lag >= 0 && options.repeats >= 1, "a record is compared at some age");
  return Experiment(model, options).run();
}

void write_staleness(std::ostream& out, const std::vector<StalenessPoint>& points) {
  out << "lag,repeat,cosine,relative_error,loss\n";
  for (const StalenessPoint& point : points) {
    out << fmt::format("{},{},{:.9f},{:.6e},{:.6f}\n", point.lag, point.repeat, point.cosine, point.relative_error,
                       point.loss);
  }
}

}  // namespace alchemist
