// Times of training's pieces by hand, on a GPU that is easy to compute with.
#include "sim/model/training_cost.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "sim/model/backward_schedule.h"
#include "sim/model/record_set.h"
#include "sim/model/roofline_cost.h"
#include "tests/model/shapes.h"

namespace alchemist {
namespace {

HardwareSpec simple_gpu() {
  HardwareSpec hardware;
  hardware.memory_bandwidth = 1e11;
  hardware.memory_efficiency = 1;
  hardware.matrix_flops = 1e12;
  hardware.matrix_efficiency = 1;
  hardware.attention_efficiency = 1;
  hardware.vector_flops = 1e12;
  hardware.processors = 8;
  hardware.kernel_overhead = Duration::microseconds(2);
  hardware.link_h2d_bandwidth = 1e10;
  hardware.link_latency = Duration::microseconds(10);
  hardware.interconnect_bandwidth = 1e10;
  return hardware;
}

// Hidden 256, MLP 512, 4 query and 2 key/value heads of 64.
ModelShape simple_model() { return {"simple", 4, 256, 512, 4, 2, 64, 1000, 4096, false, false, 2}; }

TrainingPiece piece_of(PieceKind kind, std::int64_t tokens, double keys = 0) {
  TrainingPiece piece;
  piece.kind = kind;
  piece.tokens = tokens;
  piece.attended_keys = keys;
  return piece;
}

TrainingPiece optimizer_of(std::int64_t parameters) {
  TrainingPiece piece;
  piece.kind = PieceKind::kOptimizer;
  piece.parameters = parameters;
  return piece;
}

// Ten million parameters: gradients of 2 bytes, moments and master weights of 12. All are read, all but the gradients
// are written and the weights, of 2 bytes: 2 * 14 * 10^7 bytes at 10^11 a second, and a launch.
TEST(TrainingCost, OptimizerByHand) {
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  EXPECT_NEAR(cost.piece(optimizer_of(10'000'000)).in_seconds(), 2.8e-3 + 2e-6, 2e-9);
}

// The weights that it replaces, 2 * 10^7 bytes, are read and written elsewhere.
TEST(TrainingCost, AnUpdateKeepsTheWeightsBefore) {
  TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  const double traffic = cost.traffic(optimizer_of(10'000'000));
  cost.keep_weights();
  EXPECT_NEAR(cost.piece(optimizer_of(10'000'000)).in_seconds(), 2.8e-3 + 0.4e-3 + 2e-6, 2e-9);
  EXPECT_EQ(cost.traffic(optimizer_of(10'000'000)), traffic + 4e7);
}

// New weights for serving elsewhere: 2 * 10^7 bytes at 10^10 a second are 2 ms more.
TEST(TrainingCost, NewWeightsGoToServing) {
  TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  const Duration forward = cost.piece(piece_of(PieceKind::kForward, 512));
  const Duration update = cost.piece(optimizer_of(10'000'000));
  cost.send_weights();
  EXPECT_NEAR((cost.piece(optimizer_of(10'000'000)) - update).in_seconds(), 2e-3, 2e-9);
  EXPECT_EQ(cost.piece(piece_of(PieceKind::kForward, 512)), forward) << "an update's alone";
}

// What was priced before makes no difference, however much of it is equal.
TEST(TrainingCost, OfEachPieceByItself) {
  TrainingPiece backward = piece_of(PieceKind::kBackward, 640, 1e5);
  std::vector<TrainingPiece> pieces(6, backward);
  pieces[1].kind = PieceKind::kForward;
  pieces[2].tokens = 768;
  pieces[3].attended_keys = 2e5;
  pieces[4].rebuild_tokens = 640;
  pieces[5].checkpoint_tokens = 640;
  for (const std::int64_t recorded : {0, 128}) {
    pieces.push_back(piece_of(PieceKind::kHead, 640));
    pieces.back().recorded_targets = recorded;
  }
  pieces.push_back(optimizer_of(1'000'000));
  pieces.push_back(optimizer_of(2'000'000));
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  std::set<Duration> prices;
  for (const TrainingPiece& piece : pieces) {
    const Duration alone = TrainingCost(simple_gpu(), simple_model(), TrainingShape(), 1).piece(piece);
    for (const TrainingPiece& before : pieces) {
      cost.piece(before);
      EXPECT_EQ(cost.piece(piece), alone);
    }
    prices.insert(alone);
  }
  EXPECT_EQ(prices.size(), pieces.size()) << "all of them differ";
}

// The frozen model's forward in nothing but arithmetic, without attention. 640 tokens are 5 rows of tiles. q, k and v
// are 512 columns: 20 tiles, which 8 processors make in three waves as they would 24. Of o 10 tiles as 16; of gate and
// up, 1024 columns, 40 in five full waves; of down 10 as 16. A tile takes 2 * 128 * 128 * inner / 10^12 s.
TEST(TrainingCost, ProductsAreMadeOfWholeWaves) {
  HardwareSpec hardware = simple_gpu();
  hardware.memory_bandwidth = hardware.vector_flops = 1e30;
  hardware.kernel_overhead = Duration();
  const TrainingCost cost(hardware, simple_model(), TrainingShape(), 1);
  const double tile_of_one = 2.0 * 128 * 128 / 1e12;
  const double expected = tile_of_one * (24 * 256 + 16 * 256 + 40 * 256 + 16 * 512);
  EXPECT_NEAR(cost.piece(piece_of(PieceKind::kReference, 640)).in_seconds(), expected, 2e-9);
  const double products =
      matrix_product_seconds(hardware, 640, 256, 512, 2) + matrix_product_seconds(hardware, 640, 256, 256, 2) +
      matrix_product_seconds(hardware, 640, 256, 1024, 2) + matrix_product_seconds(hardware, 640, 512, 256, 2);
  EXPECT_NEAR(expected, products, 1e-12) << "serving's products take as long";
  EXPECT_EQ(cost.piece(piece_of(PieceKind::kReference, 513)), cost.piece(piece_of(PieceKind::kReference, 640)));
}

// Training's forward and records keep the minimal set, and backward rebuilds the rest.
TEST(TrainingCost, BackwardPaysForWhatIsNotKept) {
  for (const TrainingShape& training : {TrainingShape(), full_training()}) {
    const LayerGraph graph = build_layer_graph(simple_model(), training);
    const TrainingCost cost(simple_gpu(), simple_model(), training, 1);
    const double keys = 512 * 513 / 2.0;
    const auto seconds_from = [&](const std::vector<TensorId>& kept) {
      return KernelTimes(backward_kernels(graph, kept), simple_gpu(), 1).seconds(512, keys);
    };
    const double backward = cost.piece(piece_of(PieceKind::kBackward, 512, keys)).in_seconds();
    EXPECT_NEAR(backward, seconds_from(minimal_tensors(graph)), 2e-9);
    EXPECT_GT(backward, seconds_from(needed_tensors(graph)) + 4e-6) << "two norms again are two launches";
  }
}

// The last layer's output, which the head wants, from its record of 512 tokens: the gated activation reads 1024 numbers
// of 2 bytes and writes 512, the product of 512 x 256 weights and the residual follow. On a GPU where memory alone
// takes time.
TEST(TrainingCost, ATargetFromARecordCostsTheEndOfItsLayer) {
  HardwareSpec hardware = simple_gpu();
  hardware.matrix_flops = hardware.vector_flops = 1e30;
  hardware.kernel_overhead = Duration();
  const TrainingCost cost(hardware, simple_model(), full_training(), 1);
  const TrainingPiece head = piece_of(PieceKind::kHead, 512);
  TrainingPiece recorded = head;
  recorded.recorded_targets = 512;
  const double gated = 512 * (1024 + 512) * 2.0, product = 512 * (512 + 256) * 2.0 + 512 * 256 * 2.0;
  const double residual = 512 * 3 * 256 * 2.0;
  EXPECT_NEAR((cost.piece(recorded) - cost.piece(head)).in_seconds(), (gated + product + residual) / 1e11, 2e-9);
  EXPECT_NEAR(cost.traffic(recorded) - cost.traffic(head), gated + product + residual, 1);
}

// A lean record of 256 tokens saves their forward but what rebuilds gate and up.
TEST(TrainingCost, ALeanRecordSavesAllButTheRebuild) {
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  TrainingPiece head = piece_of(PieceKind::kHead, 512);
  const Duration without = cost.piece(head);
  head.rebuild_tokens = 256;
  const double rebuild = (cost.piece(head) - without).in_seconds();
  const double forward = cost.piece(piece_of(PieceKind::kForward, 256, 256 * 257 / 2.0)).in_seconds();
  EXPECT_GT(cost.lean_saving(256), 0);
  EXPECT_LT(cost.lean_saving(256), 1);
  EXPECT_NEAR(cost.lean_saving(256), 1 - rebuild / forward, 1e-4);
}

// Of 512 tokens the 128 that keep nothing but their layer's input run forward again, with their share of the keys.
TEST(TrainingCost, CheckpointedTokensRunForwardAgain) {
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  const double keys = 512 * 2'000.0;
  TrainingPiece backward = piece_of(PieceKind::kBackward, 512, keys);
  const Duration kept = cost.piece(backward);
  backward.checkpoint_tokens = 128;
  EXPECT_NEAR((cost.piece(backward) - kept).in_seconds(),
              cost.piece(piece_of(PieceKind::kForward, 128, keys / 4)).in_seconds(), 3e-9);
}

// Eight heads of 128 numbers for keys and as many for values, whatever the 32 heads of queries: 4,096 bytes in each of
// 32 layers, 128 KiB in all; on one of two GPUs half of it.
TEST(TrainingCost, KeysAndValuesOfAGroupAreKeptOnce) {
  const TrainingCost one(simple_gpu(), llama31_8b(), TrainingShape(), 1);
  EXPECT_EQ(one.record_bytes().keys_and_values * 32, Bytes(128 << 10));
  const TrainingCost two(simple_gpu(), llama31_8b(), TrainingShape(), 1, 2);
  EXPECT_EQ(two.record_bytes().keys_and_values * 32, Bytes(64 << 10));
}

// A quarter of the SMs has a quarter of the arithmetic. Where half of them draw all of the bandwidth it has half of
// that, and three quarters have all.
TEST(ShareOf, BandwidthNeedsFewerProcessorsThanArithmetic) {
  HardwareSpec hardware = simple_gpu();
  hardware.bandwidth_saturation = 0.5;
  const HardwareSpec quarter = share_of(hardware, 0.25), rest = share_of(hardware, 0.75);
  EXPECT_DOUBLE_EQ(quarter.matrix_flops, 0.25e12);
  EXPECT_DOUBLE_EQ(rest.vector_flops, 0.75e12);
  EXPECT_EQ(quarter.processors, 2);
  EXPECT_EQ(rest.processors, 6);
  EXPECT_DOUBLE_EQ(quarter.memory_bandwidth, 0.5e11);
  EXPECT_DOUBLE_EQ(rest.memory_bandwidth, 1e11);
}

TEST(TrainingCost, TheFrozenModelHasNoAdapters) {
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  const double keys = 512 * 513 / 2.0;
  EXPECT_LT(cost.piece(piece_of(PieceKind::kReference, 512, keys)),
            cost.piece(piece_of(PieceKind::kForward, 512, keys)));
}

// A record's bytes are written once more, and each of the four layers may need a launch for what a product has made.
// Adapters of rank 16 on q, 256 to 256, and on down, 512 to 256. Forward launches A and B of each, backward A again,
// the two gradients of their inputs and the two of their weights. A change launches them all once more; forward reads
// the weights, of 2 bytes, backward those of A twice and of B once, and adds to the gradient of each.
TEST(TrainingCost, AChangeOfAdaptersLaunchesThemOnceMore) {
  const TrainingShape training = lora_training(16, {LinearModule::kQ, LinearModule::kDown});
  const TrainingCost cost(simple_gpu(), simple_model(), training, 1);
  constexpr double kA = 2 * 16 * (256 + 512), kB = 2 * 16 * (256 + 256);
  const auto expect = [&](PieceKind kind, double bytes, int launches) {
    TrainingPiece piece = piece_of(kind, 4'096, 4'096 * 500.0), changing = piece;
    for (const double times : {1.0, 7.0, 0.5}) {
      changing.adapter_changes = times;
      EXPECT_NEAR(cost.piece(changing).in_seconds() - cost.piece(piece).in_seconds(),
                  times * (launches * 2e-6 + bytes / 1e11), 2e-9);
      EXPECT_NEAR(cost.traffic(changing) - cost.traffic(piece), times * bytes, 1e-3);
    }
  };
  expect(PieceKind::kForward, kA + kB, 4);
  expect(PieceKind::kBackward, 3 * kA + 2 * kB, 10);
}

TEST(TrainingCost, RecordingWritesAndLaunchesOnceALayer) {
  const TrainingCost cost(simple_gpu(), simple_model(), TrainingShape(), 1);
  EXPECT_NEAR(cost.recording(Bytes(1'000'000)).in_seconds(), 4 * 2e-6 + 1e6 / 1e11, 2e-9);
  HardwareSpec slower = simple_gpu();
  slower.recording_slowdown = 3.5;
  const TrainingCost dear(slower, simple_model(), TrainingShape(), 1);
  EXPECT_NEAR(dear.recording(Bytes(1'000'000)).in_seconds(), 3.5 * (4 * 2e-6 + 1e6 / 1e11), 2e-9);
  const TrainingPiece forward = piece_of(PieceKind::kForward, 512, 512 * 513 / 2.0);
  EXPECT_EQ(dear.piece(forward), cost.piece(forward)) << "recording is serving's";
}

}  // namespace
}  // namespace alchemist
