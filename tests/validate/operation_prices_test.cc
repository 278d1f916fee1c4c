// What a real run's operations took beside what the simulator charges for the same ones.
#include "validate/operation_prices.h"

#include <gtest/gtest.h>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

// A millisecond a token.
class PerToken final : public StepCost {
 public:
  Duration step(const BatchShape& shape) const override { return Duration::milliseconds(shape.tokens()); }
};

BatchShape decodes(std::int32_t count) {
  BatchShape shape;
  shape.decodes = shape.sampled = count;
  shape.decode_context_sum = 10 * count;
  shape.decode_context_max = 10;
  return shape;
}

OperationPrices::Sum of(const OperationPrices& prices, OperationKind kind) {
  return sums_of(prices.all())[static_cast<std::size_t>(kind)];
}

// Three decode steps of 2, 3 and 3 tokens, which took 10 ms each: priced 8 ms. A prompt of 4 tokens beside one decode:
// priced 5 ms. Without training no turns change, and nobody copies.
TEST(OperationPrices, SumsServingByKind) {
  const PerToken steps;
  OperationPrices prices(steps, nullptr, TurnCosts(ColdStart(), 1));
  for (const std::int32_t count : {2, 3, 3})
    prices.step(decodes(count), Duration(), Bytes(), {Time(), Duration::milliseconds(10), Duration()});
  const std::vector<PrefillChunk> chunks = {{4, 0}};
  BatchShape mixed = decodes(1);
  mixed.prefills = chunks;
  prices.step(mixed, Duration(), Bytes(), {Time() + Duration::milliseconds(31), Duration::milliseconds(4), Duration()});
  EXPECT_EQ(of(prices, OperationKind::kDecode).count, 3);
  EXPECT_EQ(of(prices, OperationKind::kDecode).took, Duration::milliseconds(30));
  EXPECT_EQ(of(prices, OperationKind::kDecode).priced, Duration::milliseconds(8));
  const PriceFactors factors = factors_of(sums_of(prices.all()));
  EXPECT_EQ(factors.charged(OperationKind::kDecode, Time(), Duration::milliseconds(8)), Duration::milliseconds(30));
  EXPECT_EQ(factors.charged(OperationKind::kPrefill, Time(), Duration::milliseconds(5)), Duration::milliseconds(4));
  EXPECT_EQ(factors.charged(OperationKind::kHead, Time(), Duration::milliseconds(5)), Duration::milliseconds(5));
  EXPECT_EQ(of(prices, OperationKind::kPrefill).count, 1);
  EXPECT_EQ(of(prices, OperationKind::kPrefill).priced, Duration::milliseconds(5));
  EXPECT_EQ(operation_csv(sums_of(prices.all())),
            "operation,count,real_s,priced_s,error\n"
            "decode,3,0.030000000000000002,0.008,-0.7333333333333334\nprefill,1,0.004,0.005,0.25\n");
  // The second step of three is the first that has run before.
  EXPECT_EQ(operation_times_csv(prices.all()),
            "operation,tokens,attended_keys,new_size,start_s,copying_us,real_us,priced_us,probe_us\n"
            "decode,2,0,1,0.000000000,0.000,10000.000,2000.000,0.000\n"
            "decode,3,0,1,0.000000000,0.000,10000.000,3000.000,0.000\n"
            "decode,3,0,0,0.000000000,0.000,10000.000,3000.000,0.000\n"
            "prefill,5,0,1,0.031000000,0.000,4000.000,5000.000,0.000\n");
}

// Of the three decode steps two are the first of their size: 20 ms, priced 5 ms.
TEST(OperationPrices, TablesTellTheFirstOfASizeApart) {
  const PerToken steps;
  OperationPrices prices(steps, nullptr, TurnCosts(ColdStart(), 1));
  for (const std::int32_t count : {2, 3, 3})
    prices.step(decodes(count), Duration(), Bytes(), {Time(), Duration::milliseconds(10), Duration()});
  EXPECT_EQ(operation_table(prices.all()),
            "operation                      count            real s          priced s     error\n"
            "decode                             3            0.0300            0.0080   -73.3 %\n"
            "the first of a size            count            real s          priced s     error\n"
            "decode                             2            0.0200            0.0050   -75.0 %\n");
}

// Copies that last as long as a piece does double its time. An update is as large as what it updates.
TEST(OperationPrices, PiecesAreToldWithTheirSizesAndCopies) {
  const PerToken steps;
  const TrainingCost training = training_cost();
  OperationPrices prices(steps, &training, TurnCosts(ColdStart(), 2.0));
  TrainingPiece forward;
  forward.tokens = 100;
  forward.attended_keys = 5050;
  TrainingPiece update;
  update.kind = PieceKind::kOptimizer;
  update.tokens = 3;
  update.parameters = 1234;
  prices.piece(forward, {Time(), Duration::milliseconds(1), Duration::seconds(9)});
  prices.piece(update, {Time(), Duration::milliseconds(2), Duration()});
  EXPECT_EQ(of(prices, OperationKind::kForward).priced, training.piece(forward) * 2);
  const std::string csv = operation_times_csv(prices.all());
  EXPECT_NE(csv.find("\nforward,100,5050,1,0.000000000,9000000.000,1000.000,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\noptimizer,1234,0,1,0.000000000,0.000,2000.000,"), std::string::npos) << csv;
}

// Step, piece, piece, step, step: the first piece and the step after the pieces find cold caches, and the last step
// runs beside copies, which double the time of what they run beside: those of 4 ms keep it from 2 ms of its work, those
// that last as long as it does make it 10 ms. Recording is charged on top.
TEST(OperationPrices, ChargesTurnsCopiesAndRecordingAsTheSimulatorDoes) {
  const PerToken steps;
  const TrainingCost training = training_cost();
  const Duration cold_step = Duration::microseconds(300), cold_piece = Duration::microseconds(70);
  ColdStart cold;
  cold.serving = cold_step;
  cold.training = cold_piece;
  OperationPrices prices(steps, &training, TurnCosts(cold, 2.0));
  TrainingPiece forward;
  forward.tokens = 100;
  forward.attended_keys = 5050;
  TrainingPiece backward = forward;
  backward.kind = PieceKind::kBackward;
  const OperationPrices::Run run = {Time(), Duration::milliseconds(1), Duration()};
  const auto beside_copies = [](std::int64_t ms) {
    return OperationPrices::Run{Time(), Duration::milliseconds(1), Duration::milliseconds(ms)};
  };
  prices.step(decodes(1), Duration(), Bytes(), run);
  prices.piece(forward, run);
  prices.piece(backward, run);
  prices.step(decodes(2), Duration(), Bytes(1 << 20), run);
  EXPECT_EQ(of(prices, OperationKind::kForward).priced, training.piece(forward) + cold_piece);
  EXPECT_EQ(of(prices, OperationKind::kBackward).priced, training.piece(backward));
  const Duration before = of(prices, OperationKind::kDecode).priced;
  EXPECT_EQ(before, Duration::milliseconds(3) + cold_step + training.recording(Bytes(1 << 20)));
  prices.step(decodes(5), Duration(), Bytes(), beside_copies(4));
  EXPECT_EQ(of(prices, OperationKind::kDecode).priced, before + Duration::milliseconds(7));
  prices.step(decodes(5), Duration(), Bytes(), beside_copies(10));
  EXPECT_EQ(of(prices, OperationKind::kDecode).priced, before + Duration::milliseconds(17));
  prices.step(decodes(5), Duration(), Bytes(), beside_copies(99));
  EXPECT_EQ(of(prices, OperationKind::kDecode).priced, before + Duration::milliseconds(27));
}

// A calibration at level 3 of a square root. Of 100 steps that are priced alike, one a second, half were run at probe
// 16, the other half at 25: 4 / 3 and 5 / 3 as slow.
TEST(OperationPrices, SlownessGoesByTheProbes) {
  const PerToken steps;
  OperationPrices prices(steps, nullptr, TurnCosts(ColdStart(), 1));
  const SpeedLaw law{0.5, 3};
  const auto at = [](int second) { return Time() + Duration::seconds(second); };
  const auto step = [&](int second, double probe_us) {
    prices.step(decodes(1), Duration(), Bytes(), {at(second), Duration::milliseconds(7), Duration(), probe_us});
  };
  EXPECT_FALSE(slowness_of(prices.all(), law)) << "nothing ran";
  for (int i = 0; i < 100; ++i) step(10 + i, i < 50 ? 16 : 25);
  const auto slowness = slowness_of(prices.all(), law);
  ASSERT_TRUE(slowness);
  EXPECT_NEAR(slowness->mean, 1.5, 2e-3) << "smoothed probes: the root of a mean is more than the mean of roots";
  const auto charged = [&](Time when) {
    return slowness->factors.charged(OperationKind::kDecode, when, Duration::microseconds(3'000)).in_milliseconds();
  };
  EXPECT_NEAR(charged(at(0)), 4, 1e-5) << "before the first operation as by then";
  EXPECT_NEAR(charged(at(49)), 4, 1e-5);
  EXPECT_NEAR(charged(at(70)), 5, 1e-5);
  EXPECT_NEAR(charged(at(1'000)), 5, 1e-5) << "to the end as by the last";
  EXPECT_FALSE(slowness_of(prices.all(), SpeedLaw())) << "the calibration does not know";
  step(111, 0);
  EXPECT_FALSE(slowness_of(prices.all(), law)) << "no probe before the last";
}

}  // namespace
}  // namespace alchemist
