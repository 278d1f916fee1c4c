// Cost of watching a run: samples, rows.
#include <benchmark/benchmark.h>

#include "sim/base/random.h"
#include "sim/report/csv_files.h"
#include "sim/report/metrics.h"

namespace alchemist {
namespace {

std::vector<std::int64_t> gaps() {
  RandomStream stream(1, "gaps");
  std::vector<std::int64_t> values(1 << 16);
  for (std::int64_t& v : values) v = static_cast<std::int64_t>(2e7 + 1e7 * stream.exponential(1.0));
  return values;
}

// One add() once there is a histogram.
void distribution_add(benchmark::State& state) {
  Distribution d;
  d.add(1, Distribution::kExactSamples + 1);
  const std::vector<std::int64_t> values = gaps();
  std::size_t i = 0;
  for (auto _ : state) d.add(values[i++ & 0xffff], 17);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(distribution_add);

// One on_token_gap() of a long run.
void token_gap(benchmark::State& state) {
  RunMetrics metrics(RunInfo{});
  RunObserver& observer = metrics;
  const std::vector<std::int64_t> values = gaps();
  observer.on_token_gap(Time(), Duration::nanoseconds(1), Distribution::kExactSamples + 1);
  std::size_t i = 0;
  for (auto _ : state) observer.on_token_gap(Time(), Duration::nanoseconds(values[i++ & 0xffff]), 17);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(token_gap);

void quantiles(benchmark::State& state) {
  Distribution d;
  for (std::int64_t v : gaps()) d.add(v, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(d.quantile(0.99));
}
BENCHMARK(quantiles)->Arg(1)->Arg(100)->Unit(benchmark::kMicrosecond);

RequestOutcome some_outcome() {
  RequestOutcome o;
  o.id = RequestId(123'456);
  o.session = SessionId(98'765);
  o.arrived = Time::from_ns(12'345'678'901'234);
  o.scheduled = o.arrived + Duration::microseconds(1234);
  o.first_token = o.arrived + Duration::microseconds(123'456);
  o.finished = o.arrived + Duration::microseconds(9'876'543);
  o.prompt_tokens = 1234;
  o.output_tokens = 321;
  return o;
}

// One finished request: its statistics, and its line in requests.csv.
void request_statistics(benchmark::State& state) {
  RunMetrics metrics(RunInfo{});
  RequestOutcome o = some_outcome();
  for (auto _ : state) {
    o.first_token += Duration::nanoseconds(1);
    metrics.on_request_outcome(o);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(request_statistics)->Iterations(1'000'000);

void request_line(benchmark::State& state) {
  OutputFile file("/dev/null");
  const RequestOutcome o = some_outcome();
  for (auto _ : state) write_request(file, o, Slo{.ttft = Duration::seconds(1)});
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(request_line);

}  // namespace
}  // namespace alchemist

BENCHMARK_MAIN();
