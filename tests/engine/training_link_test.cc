// Records that go to the host and come back while training runs beside serving, in the simulated world.
#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::Decisions;
using testing::make_request;
using testing::small_model;
using testing::TrainingObserver;
using testing::World;

// What keeping 50 tokens' activations adds to their prefill step.
Duration record_time(const World& world) {
  return Duration::seconds((world.cost.record_bytes().minimal * 4 * 50).as_double() / 1e11);
}

// A lost hedge. The first answer gets no feedback, but its record goes to the host all the same: 50 tokens' bytes, 10
// us and their time at 1e9 bytes/s. The second record takes the first one's place on the GPU, where only one fits, and
// then on the host. So the first copy was made and never read. The second one is there at the end: nobody knows yet.
TEST(Training, LostHedgeIsCharged) {
  World world;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  world.link_rate = 1e9;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  world.record_pages = static_cast<std::int32_t>((record + page - Bytes(1)) / page);
  world.host_capacity = page * (world.record_pages + 1);
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  const SimulationTotals totals = world.run(
      names, {make_request(at_ms(0), 50, 3, 1), make_request(at_ms(500), 50, 3, 2)}, observer, 4'000, 0.0, Duration());
  EXPECT_EQ(totals.store.wasted_copies, record);
  EXPECT_EQ(observer.moved[LinkDirection::kHostToDevice], Bytes());
}

// The same on two GPUs, each with such a pair of requests of its own.
TEST(Training, LostHedgesOfAllGpusAreCharged) {
  World world;
  world.replicas = 2;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  world.link_rate = 1e9;
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  world.record_pages = static_cast<std::int32_t>((record + page - Bytes(1)) / page);
  world.host_capacity = page * (world.record_pages + 1);
  std::vector<WorkloadRequest> requests;
  for (std::uint64_t i = 0; i < 4; ++i) requests.push_back(make_request(at_ms(i < 2 ? 0 : 500), 50, 3, i + 1));
  TrainingObserver observer;
  const SimulationTotals totals =
      world.run({"minimal", "eager", "oldest", "reload", "idle"}, requests, observer, 4'000, 0.0, Duration());
  EXPECT_EQ(totals.store.wasted_copies, record * 2);
}

// A record's copy from or to memory that is not pinned, 10 us behind its start.
TEST(Training, CopiesOfPageableMemoryAreAsSlowAsThat) {
  World world;
  world.pageable_rate = 5e8;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  world.run(names, {make_request(at_ms(0), 50, 3, 1), make_request(at_ms(500), 50, 3, 2)}, observer, 4'000, 0.0,
            Duration());
  ASSERT_GE(observer.transfers.size(), 1u);
  EXPECT_EQ(observer.transfers[0].end - observer.transfers[0].start,
            Duration::microseconds(10) + Duration::seconds(record.as_double() / 5e8));
}

// Eager copies: 50 tokens' record goes to the host once. With no room for records on the GPU but while they are made
// (the second prompt's record pushes the first one's pages out), training gets it back over the link: the same bytes.
TEST(Training, HostCopyComesBackOverTheLink) {
  World world;
  const Bytes record = world.cost.record_bytes().minimal * 4 * 50;
  const auto pages = [&](Bytes bytes) {
    const Bytes page = small_model().kv_bytes_per_token() * 16;
    return static_cast<std::int32_t>((bytes + page - Bytes(1)) / page);
  };
  world.record_pages = pages(record);
  world.link_rate = 1e9;  // a layer's reload then takes longer than its backward
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  world.run(
      names,
      {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(200), 50, 11, 2), make_request(at_ms(5'000), 3, 1, 3)},
      observer, 4'000, 1.0, Duration::milliseconds(1'000));
  ASSERT_EQ(observer.steps.size(), 2u);
  EXPECT_EQ(observer.steps[0].reused_tokens, 50);
  EXPECT_EQ(observer.steps[0].recomputed_tokens, 11);
  EXPECT_GE(observer.moved[LinkDirection::kDeviceToHost], record + record);
  const Bytes keys = world.cost.record_bytes().keys_and_values * 4 * 50;  // ahead of the answer's forward
  EXPECT_EQ(observer.moved[LinkDirection::kHostToDevice], record + keys);
  EXPECT_EQ(observer.peak_activations, small_model().kv_bytes_per_token() * 16 * pages(record));
  const TrainingStep& step = observer.steps[0];
  EXPECT_GT(step.restore_stall, Duration()) << "backward waits for the link";
  EXPECT_EQ(step.end - step.start, step.gpu_time + step.restore_stall) << "nothing else runs meanwhile";
}

// A record of 50 tokens goes to the host once the prompt is computed: 10 us of latency, then its bytes at 1e9 a second.
// With slowdown 2 they move at half of that while kernels run. After the prompt come 2 decode steps of 101 us each, and
// then the GPU is idle. So the copy, which takes B / 1e9 alone, has moved (202 - 10) us / 2 when the GPU stops, and
// ends (202 - 10) / 2 us later than it would alone; if 30 steps follow it runs at half speed all the time.
TEST(Training, KernelsSlowCopies) {
  const auto copy_takes = [](double slowdown, std::int32_t output) {
    World world;
    world.link_rate = 1e9;
    world.link_slowdown = slowdown;
    TrainingObserver observer;
    const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
    world.run(names, {make_request(at_ms(0), 50, output, 1), make_request(at_ms(900), 3, 1, 2)}, observer, 4'000, 0.0,
              Duration());
    EXPECT_EQ(observer.transfers.front().start, Time() + Duration::microseconds(150) + record_time(world));
    return observer.transfers.front().end - observer.transfers.front().start;
  };
  const Bytes record = World().cost.record_bytes().minimal * 4 * 50;
  const Duration alone = Duration::microseconds(10) + Duration::seconds(record.as_double() / 1e9);
  ASSERT_GT(alone, Duration::microseconds(202));
  ASSERT_LT(2 * alone, Duration::microseconds(30 * 101));
  EXPECT_EQ(copy_takes(1, 3), alone);
  EXPECT_EQ(copy_takes(2, 3), alone + Duration::microseconds(96));
  EXPECT_EQ(copy_takes(2, 31), 2 * alone - Duration::microseconds(10));
}

// And the other way round: with copy_slowdown 2 decode steps of 101 us get half of their work done while the copy runs,
// so that the answer ends half of the copy's time later, whichever step that ends in.
TEST(Training, CopiesSlowKernelsAsLongAsTheyRun) {
  const auto answered = [](double slowdown, bool single_steps) {
    World world;
    world.link_rate = 1e9;
    world.copy_slowdown = slowdown;
    world.single_steps = single_steps;
    TrainingObserver observer;
    const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
    world.run(names, {make_request(at_ms(0), 50, 31, 1), make_request(at_ms(900), 3, 1, 2)}, observer, 4'000, 0.0,
              Duration());
    return observer.outcomes.at(RequestId(0)).finished;
  };
  const Bytes record = World().cost.record_bytes().minimal * 4 * 50;
  const Duration copy = Duration::microseconds(10) + Duration::seconds(record.as_double() / 1e9);
  ASSERT_GT(copy, Duration::microseconds(2 * 202));
  ASSERT_LT(copy, Duration::microseconds(30 * 101));
  for (const bool single_steps : {false, true}) {
    const Duration later = answered(2, single_steps) - answered(1, single_steps);
    EXPECT_NEAR(static_cast<double>(later.count_ns()), static_cast<double>(copy.count_ns()) / 2, 30)
        << "a nanosecond a step of rounding";
  }
}

// One request of 61 tokens is trained without a record, when nothing is known yet of what the prefix cache is good for.
// Where the memory holds its activations beside its own prefix in the cache they stay. If not beside that, or not at
// all, of the 4 layers those that are not in the window of 2 leave, each once, and come back.
TEST(Training, ActivationsSpillWhereMemoryIsNotBlank) {
  constexpr Decisions kSpilling{"none", "none", "none", "none", "idle", FreshActivations::kSpill};
  const Bytes page = small_model().kv_bytes_per_token() * 16;
  for (const std::int32_t room : {8, 2, -2}) {
    World world;
    const Bytes layer = world.cost.record_bytes().minimal * 61;
    const auto kept = static_cast<std::int32_t>((layer * 4) / page) + 1;
    TrainingObserver observer;
    world.run(kSpilling, {make_request(at_ms(0), 50, 11, 1), make_request(at_ms(5'000), 3, 1, 2)}, observer,
              kept + room, 1.0, Duration::milliseconds(1));
    ASSERT_EQ(observer.steps.size(), 1u);
    EXPECT_EQ(observer.steps[0].tokens, 61);
    EXPECT_EQ(observer.moved[LinkDirection::kDeviceToHost], room == 8 ? Bytes() : layer * 2) << room;
    EXPECT_EQ(observer.moved[LinkDirection::kHostToDevice], room == 8 ? Bytes() : layer * 2) << room;
  }
}

// Records lie in pinned memory: at 1e10 bytes/s, not at the 1e9 of pageable memory. Up to a nanosecond of rounding.
TEST(Training, RecordsAreCopiedAsFastAsTheLinkIs) {
  World world;
  TrainingObserver observer;
  const Decisions names{"minimal", "eager", "oldest", "reload", "idle"};
  world.run(names, {make_request(at_ms(0), 50, 1, 1), make_request(at_ms(100), 3, 1, 2)}, observer, 4'000, 0.0,
            Duration());
  ASSERT_GE(observer.transfers.size(), 1u);
  const TransferSpan& copy = observer.transfers[0];
  EXPECT_NEAR((copy.end - copy.start).in_seconds(), 10e-6 + copy.bytes.as_double() / 1e10, 2e-9);
}

}  // namespace
}  // namespace alchemist
