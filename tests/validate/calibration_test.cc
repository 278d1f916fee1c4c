// What a calibration measures, whatever it takes.
#include "validate/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

std::int64_t tokens_of(const StepCase& shape) {
  std::int64_t tokens = shape.decodes;
  for (const PrefillChunk& chunk : shape.chunks) tokens += chunk.tokens;
  return tokens;
}

// One round of the smallest sizes that hold what is held out.
Calibration calibrate_small() {
  CalibrationConfig config;
  config.step_tokens = 256;
  config.step_sequences = 16;
  config.longest_context = 512;
  config.micro_batch_tokens = 128;
  config.rounds = 1;
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  options.shape.max_position = 1024;
  options.limits = {.step_tokens = 272, .step_sequences = 272, .micro_batch_tokens = 128, .block_size = 16};
  return calibrate(*TestDecoder<float>(options), config);
}

// Of samples of 32 tokens, 32 * 33 / 2 keys each, or of one as long as the piece. No size of the held-out ones, 23 and
// 101 tokens, is in a table.
void expect_pieces(const Calibration& c) {
  std::set<double> of_128;
  for (const PieceCase& piece : c.pieces) {
    EXPECT_TRUE(piece.tokens != 23 && piece.tokens != 101) << piece.kind;
    if (piece.kind == "backward" && piece.tokens == 128) of_128.insert(piece.attended_keys);
  }
  EXPECT_EQ(of_128, (std::set<double>{4 * 32 * 33 / 2, 128 * 129 / 2}));
  ASSERT_EQ(c.held_out_pieces.size(), 4u);
  for (const auto& [piece, first_us] : c.held_out_pieces) {
    EXPECT_TRUE(piece.tokens == 23 || piece.tokens == 101);
    EXPECT_EQ(piece.attended_keys, static_cast<double>(piece.tokens * (piece.tokens + 1) / 2));
    EXPECT_GT(first_us, 0);
  }
}

TEST(Calibrate, MeasuresWhatItsTablesSay) {
  const Calibration c = calibrate_small();
  for (const StepCase& shape : c.base) {
    for (const PrefillChunk& chunk : shape.chunks) EXPECT_TRUE(chunk.tokens <= 16 && chunk.context == 0);
  }
  EXPECT_EQ(tokens_of(c.base.back()), 272) << "as many as a step may have";
  // Without, then with: what is between them is the head's, or recording's.
  ASSERT_EQ(c.head.size() % 2, 0u);
  for (std::size_t i = 0; i < c.head.size(); i += 2) {
    EXPECT_EQ(tokens_of(c.head[i]), tokens_of(c.head[i + 1]));
    EXPECT_TRUE(!c.head[i].head && c.head[i + 1].head) << i;
  }
  ASSERT_EQ(c.recorded.size() % 2, 0u);
  for (std::size_t i = 0; i < c.recorded.size(); i += 2) {
    EXPECT_EQ(tokens_of(c.recorded[i]), tokens_of(c.recorded[i + 1]));
    EXPECT_TRUE(!c.recorded[i].records && c.recorded[i + 1].records) << i;
  }
  for (const std::vector<StepCase>* cases : {&c.base, &c.head, &c.decode, &c.mixed, &c.recorded, &c.held_out}) {
    for (const StepCase& shape : *cases) EXPECT_GT(shape.time.median, 0);
  }
  for (const char* kind : {"h2d", "d2h", "duplex"}) {
    EXPECT_EQ(std::ranges::count(c.links, kind, &LinkCase::kind), 4) << kind;
  }
  expect_pieces(c);
}

}  // namespace
}  // namespace alchemist
