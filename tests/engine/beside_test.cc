// Training on a share of the SMs while serving has the rest, in the simulated world.
#include <algorithm>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::Decisions;
using testing::make_request;
using testing::TrainingObserver;
using testing::World;

constexpr Decisions kBeside{"none", "none", "none", "none", "beside"};
constexpr Decisions kBesideReuse{"minimal", "eager", "oldest", "hedged", "beside"};

// One request of 50 + 11 tokens is trained 1 ms after its answer, and another of 3 + 1 tokens comes 10 us later, during
// the first piece: 61 tokens forward through a layer. Its one step takes 120 + 3 * 2 us, stretched by the bandwidth
// that the piece takes of serving. The next piece does not begin before that prompt is done: the training step is the
// sum of its pieces on a quarter of the SMs and this wait, and a quarter of its pieces' time is GPU time.
TEST(Beside, ServingAndTrainingRunAtOnce) {
  World world;
  world.beside = true;
  std::vector<WorkloadRequest> requests = {make_request(at_ms(0), 50, 11, 1)};
  Time answered;
  {
    TrainingObserver observer;
    world.run(kBeside, requests, observer, 4'000, 0.0, Duration());
    answered = observer.outcomes.at(RequestId(0)).finished;
  }
  const Time start = answered + Duration::milliseconds(1), arrival = start + Duration::microseconds(10);
  requests.push_back(make_request(arrival, 3, 1, 2));
  requests.push_back(make_request(at_ms(5'000), 3, 1, 3));
  TrainingObserver observer;
  world.run(kBeside, requests, observer, 4'000, 1.0, Duration::milliseconds(1));
  ASSERT_EQ(observer.steps.size(), 1u);

  TrainingPiece forward;
  forward.tokens = 61;
  forward.attended_keys = 61 * 62 / 2.0;
  const Duration first = world.beside_cost.piece(forward);
  ASSERT_GT(first, Duration::microseconds(10)) << "the request comes during the first piece";
  const double taken = world.cost.traffic(forward) / (first.in_seconds() * 1e11);
  ASSERT_GT(taken, 0.01);
  ASSERT_LT(taken, 0.9);
  const double step = 126e-6 / (1 - taken);
  const Time answer = observer.outcomes.at(RequestId(1)).first_token;
  EXPECT_NEAR((answer - arrival).in_seconds(), step, 2e-9);
  EXPECT_EQ(observer.outcomes.at(RequestId(2)).first_token, at_ms(5'000) + Duration::microseconds(103))
      << "nothing runs beside it";

  TrainingPiece head = forward, backward = forward, optimizer;
  head.kind = PieceKind::kHead;
  head.tokens = 11;
  backward.kind = PieceKind::kBackward;
  optimizer.kind = PieceKind::kOptimizer;
  optimizer.parameters = world.cost.trained_parameters();
  const Duration sum = 4 * first + world.beside_cost.piece(head) + 4 * world.beside_cost.piece(backward) +
                       world.beside_cost.piece(optimizer);
  EXPECT_EQ(observer.steps[0].start, start);
  EXPECT_EQ(observer.steps[0].end - start, sum + std::max(Duration(), answer - (start + first)));
  EXPECT_NEAR(observer.steps[0].gpu_time.in_seconds(), sum.in_seconds() / 4, 1e-7);
  EXPECT_EQ(observer.steps[0].forward, 4 * first);
  EXPECT_NEAR(observer.steps[0].redundant_forward.in_seconds(), first.in_seconds(), 1e-7) << "4 layers on a quarter";
}

// Under load, with records that go to the host and come back: everything ends, and every answer is trained.
TEST(Beside, TrainsUnderLoad) {
  World world;
  world.beside = true;
  for (const bool async : {false, true}) {
    world.async = async;
    std::vector<WorkloadRequest> requests;
    for (int i = 0; i < 200; ++i) requests.push_back(make_request(at_ms(3 * i), 40 + i % 30, 20, 1 + i));
    requests.push_back(make_request(at_ms(60'000), 3, 1, 999));
    TrainingObserver observer;
    const SimulationTotals totals = world.run(kBesideReuse, requests, observer, 700, 1.0, Duration::milliseconds(50));
    EXPECT_EQ(totals.completed, 201);
    std::int64_t samples = 0, reused = 0;
    for (const TrainingStep& step : observer.steps) {
      samples += step.samples;
      reused += step.reused_tokens;
    }
    EXPECT_GE(samples, 198) << "all but what fills no batch any more";
    EXPECT_GT(reused, 1'000);
  }
}

// Half of the SMs draw all of the bandwidth: a quarter has half of it, three quarters have all.
TEST(Beside, SharesOfTheHardware) {
  HardwareSpec hardware = testing::small_hardware();
  hardware.processors = 10;
  hardware.bandwidth_saturation = 0.5;
  const HardwareSpec quarter = share_of(hardware, 0.25), rest = share_of(hardware, 0.75);
  EXPECT_EQ(quarter.matrix_flops, 0.25 * hardware.matrix_flops);
  EXPECT_EQ(rest.vector_flops, 0.75 * hardware.vector_flops);
  EXPECT_EQ(quarter.processors, 3) << "2.5";
  EXPECT_EQ(quarter.memory_bandwidth, 0.5 * hardware.memory_bandwidth);
  EXPECT_EQ(rest.memory_bandwidth, hardware.memory_bandwidth);
}

// A record of 50 tokens goes to the host while serving rests and training's pieces run: they slow it as serving's
// kernels would, to half of the link's rate.
TEST(Beside, PiecesSlowCopies) {
  for (const double slowdown : {1.0, 2.0}) {
    World world;
    world.beside = true;
    world.link_slowdown = slowdown;
    TrainingObserver observer;
    const Time later = Time() + Duration::microseconds(150 + 10 * 101 + 5'000 + 100);  // training runs
    world.run({"minimal", "eager", "oldest", "none", "beside"},
              {make_request(at_ms(0), 50, 11, 1), make_request(later, 50, 1, 2), make_request(at_ms(5'000), 3, 1, 3)},
              observer, 4'000, 1.0, Duration::milliseconds(5));
    ASSERT_GE(observer.transfers.size(), 2u);
    const TransferSpan& copy = observer.transfers[1];
    ASSERT_GE(observer.steps.size(), 1u);
    ASSERT_GT(copy.start, observer.steps[0].start);
    ASSERT_LT(copy.end, observer.steps[0].end);
    EXPECT_NEAR((copy.end - copy.start).in_seconds(), 10e-6 + slowdown * copy.bytes.as_double() / 1e10, 2e-9);
  }
}

}  // namespace
}  // namespace alchemist
