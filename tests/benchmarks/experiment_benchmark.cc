// Cost of whole parts of a run: its requests alone, and an hour of it.
#include <benchmark/benchmark.h>

#include "sim/app/experiment.h"
#include "sim/app/run_experiment.h"
#include "sim/base/check.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

// One request of the day's conversations.
void generate_request(benchmark::State& state) {
  const Experiment day = load_experiment("day", {.sets = {"workload.duration=8760 h"}});
  const auto source = make_source(day.workload, 42);
  for (auto _ : state) benchmark::DoNotOptimize(source->next());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(generate_request);

class Counter final : public RunObserver {
 public:
  void on_request_outcome(const RequestOutcome&) override { ++requests; }
  void on_serving_span(const ServingSpan& span) override { steps += span.steps; }
  std::int64_t requests = 0;
  std::int64_t steps = 0;
};

// N minutes of the day, everything but statistics.
void simulate_minutes(benchmark::State& state) {
  const Experiment day =
      load_experiment("day", {.sets = {"workload.duration=" + std::to_string(state.range(0)) + " min"}});
  Counter counter;
  for (auto _ : state) run_experiment(day, counter);
  check(counter.requests > 0 && counter.requests % state.iterations() == 0, "each run is the same run");
  const auto per_second = [](std::int64_t count) {
    return benchmark::Counter(static_cast<double>(count), benchmark::Counter::kIsRate);
  };
  const auto per_run = [](std::int64_t count) {
    return benchmark::Counter(static_cast<double>(count), benchmark::Counter::kAvgIterations);
  };
  state.counters["steps"] = per_run(counter.steps);
  state.counters["steps/s"] = per_second(counter.steps);
  state.counters["requests/s"] = per_second(counter.requests);
}
BENCHMARK(simulate_minutes)->Arg(60)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace alchemist

BENCHMARK_MAIN();
