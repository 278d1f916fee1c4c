// Cost of KV blocks and of planning a step.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "sim/base/random.h"
#include "sim/node/block_pool.h"
#include "sim/node/scheduler.h"

namespace alchemist {
namespace {

// The whole life of a block in a pool of N: allocated (its old content is forgotten), published, found and shared by
// another request, given back twice. Requests of 40 blocks, which end in random order, 50 at a time.
void block_pool(benchmark::State& state) {
  constexpr std::size_t kRequests = 50, kBlocks = 40;
  BlockPool pool(static_cast<std::int32_t>(state.range(0)));
  RandomStream random(1, "blocks");
  std::vector<std::size_t> order(1 << 12);
  for (std::size_t& i : order) i = static_cast<std::size_t>(random.uniform_int(0, kRequests - 1));
  std::vector<std::vector<BlockId>> requests(kRequests);
  std::uint64_t content = 0;
  std::size_t next = 0;
  for (auto _ : state) {
    std::vector<BlockId>& blocks = requests[order[next++ & 0xfff]];
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool.release(*block);
    blocks.clear();
    const std::uint64_t hash = mix64(++content);
    for (std::size_t i = 0; i < kBlocks; ++i) {
      blocks.push_back(pool.allocate());
      pool.publish(blocks.back(), hash + i);
    }
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const BlockId found = *pool.find(hash + i);
      pool.share(found);
      pool.release(found);
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBlocks));
}
BENCHMARK(block_pool)->Arg(7'500)->Arg(100'000);

// Planning one step in which N requests decode: a sixteenth of them need a block, nobody else is touched. A request
// that reaches 4,096 tokens makes place for a new one.
void plan_decode_step(benchmark::State& state) {
  const auto requests = static_cast<std::int32_t>(state.range(0));
  ServingConfig config;
  Scheduler scheduler(config, requests * 4096 / config.block_size);
  std::int64_t steps = 0;
  std::uint64_t content = 0;
  const auto enqueue = [&](std::uint32_t handle) {
    Arrival arrival;
    arrival.request = RequestHandle(handle);
    arrival.prompt_tokens = 16 + static_cast<std::int32_t>(handle) % config.block_size;
    arrival.content.content_id = mix64(++content);
    scheduler.enqueue(arrival);
  };
  for (std::int32_t i = 0; i < requests; ++i) enqueue(static_cast<std::uint32_t>(i));
  for (auto _ : state) {
    benchmark::DoNotOptimize(scheduler.plan());
    const auto oldest = static_cast<std::uint32_t>(++steps * requests / 4000 % requests);
    if (steps * requests / 4000 == (steps - 1) * requests / 4000 || steps < 1000) continue;
    scheduler.commit();
    const RequestHandle handle(oldest);
    scheduler.end({&handle, 1});
    enqueue(oldest);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(plan_decode_step)->Arg(16)->Arg(64)->Arg(256);

}  // namespace
}  // namespace alchemist

BENCHMARK_MAIN();
