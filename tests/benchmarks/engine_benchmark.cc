// Cost of an event and of a decode step's bookkeeping.
#include <benchmark/benchmark.h>

#include "sim/base/check.h"
#include "sim/base/random.h"
#include "sim/engine/decode_batch.h"
#include "sim/engine/event_queue.h"
#include "sim/engine/sim_host.h"

namespace alchemist {
namespace {

// The hold model: with N events pending, take the first and put one back at a random later time.
void event_queue(benchmark::State& state) {
  RandomStream random(1, "events");
  std::vector<Duration> delays(1 << 16);
  for (Duration& delay : delays) delay = Duration::nanoseconds(random.uniform_int(1, 1'000'000));
  SimEventQueue queue;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    queue.push(Time() + delays[i & 0xffff], EventPriority::kStepEnd, {SimEventKind::kStepEnd, ReplicaId(0)});
  }
  std::size_t next = 0;
  for (auto _ : state) {
    const auto event = queue.pop();
    queue.push(event.time + delays[next++ & 0xffff], event.priority, event.payload);
  }
  check(queue.size() == static_cast<std::size_t>(state.range(0)), "as many events are pending as before");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(event_queue)->Arg(16)->Arg(1'000)->Arg(100'000);

// One step of a batch of N requests, of which one ends and is replaced now and then.
void decode_batch(benchmark::State& state) {
  DecodeBatch batch;
  std::vector<RequestHandle> ended;
  const std::int64_t members = state.range(0);
  std::int64_t answer = 0;
  const auto join = [&](RequestHandle handle) { batch.join(handle, 500, 1 + (answer = (answer + 97) % 512)); };
  for (std::int64_t i = 0; i < members; ++i) join(RequestHandle(static_cast<std::uint32_t>(i)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(batch.context_sum());
    batch.advance();
    batch.take_ended(ended);
    for (const RequestHandle handle : ended) join(handle);
  }
  check(batch.size() == members, "every request that ended was replaced");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode_batch)->Arg(16)->Arg(256);

}  // namespace
}  // namespace alchemist

BENCHMARK_MAIN();
