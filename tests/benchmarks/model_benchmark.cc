// Cost of pricing one step.
#include <benchmark/benchmark.h>

#include <array>
#include <map>

#include "sim/app/experiment.h"
#include "sim/model/profile_cost.h"
#include "sim/model/roofline_cost.h"

namespace alchemist {
namespace {

constexpr std::int32_t kMaxTokens = 2048;

// The shape of the k-th step: a decode batch whose contexts grow, with or without one chunk of a prompt.
class Shapes {
 public:
  explicit Shapes(bool prompt) : prompt_(prompt) {}
  const BatchShape& next() {
    chunk_.context = static_cast<std::int32_t>(++step_ & 1023);
    shape_.decodes = 48;
    shape_.decode_context_sum = 48 * (500 + (step_ & 255));
    shape_.decode_context_max = 1500 + static_cast<std::int32_t>(step_ & 255);
    shape_.sampled = 48;
    if (prompt_) shape_.prefills = {&chunk_, 1};
    return shape_;
  }

 private:
  bool prompt_;
  std::int64_t step_ = 0;
  PrefillChunk chunk_{256, 0};
  BatchShape shape_;
};

void price(benchmark::State& state, const StepCost& cost) {
  Shapes shapes(state.range(0) != 0);
  for (auto _ : state) benchmark::DoNotOptimize(cost.step(shapes.next()));
  state.SetItemsProcessed(state.iterations());
}

void roofline_step(benchmark::State& state) {
  const Experiment day = load_experiment("day");
  price(state, RooflineCost(day.hardware, day.model, 1, kMaxTokens, true));
}
BENCHMARK(roofline_step)->ArgName("prompt")->Arg(0)->Arg(1);

// A profile in the form of a measured one, filled with plausible times.
KernelProfile some_profile() {
  KernelProfile profile;
  profile.layer_dense = PointSeries({{1, 450}, {64, 470}, {256, 600}, {2048, 3500}});
  profile.embedding = PointSeries({{1, 5}, {2048, 30}});
  profile.final_norm = PointSeries({{1, 5}, {2048, 40}});
  profile.head = PointSeries({{1, 150}, {256, 300}});
  std::map<std::array<std::int32_t, 2>, double> decode;
  std::map<std::array<std::int32_t, 4>, double> mixed;
  for (const std::int32_t n : {1, 16, 64, 256}) {
    for (const std::int32_t context : {16, 256, 1024, 4096}) {
      decode[{n, context}] = 8 + 0.01 * n * context;
      for (const std::int32_t chunk : {16, 256, 2048}) {
        for (const std::int32_t before : {0, 1024, 4096}) {
          mixed[{chunk, before, n, context}] = 10 + 0.0001 * chunk * (before + chunk) + 0.01 * n * context;
        }
      }
    }
  }
  profile.decode.fill(decode);
  profile.mixed.fill(mixed);
  for (const std::int32_t n : {16, 64, 256}) profile.uneven.push_back({n, n * 1000, 4000, 20});
  return profile;
}

void profile_step(benchmark::State& state) {
  const Experiment day = load_experiment("day");
  ProfileCostOptions options;
  options.max_num_batched_tokens = kMaxTokens;
  options.max_context = 4096;
  price(state, ProfileCost(some_profile(), day.hardware, day.model, options));
}
BENCHMARK(profile_step)->ArgName("prompt")->Arg(0)->Arg(1);

}  // namespace
}  // namespace alchemist

BENCHMARK_MAIN();
