// Training holds memory, or the GPU, that serving could do with.
#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/training_world.h"

namespace alchemist {
namespace {

using testing::Decisions;
using testing::kTemporal;
using testing::make_request;
using testing::small_model;
using testing::TrainingObserver;
using testing::World;

Bytes page_bytes() { return small_model().kv_bytes_per_token() * 16; }

// Pages of a sample of so many tokens, none of which has a record.
std::int32_t pages_of(const World& world, std::int64_t tokens) {
  return static_cast<std::int32_t>((world.cost.record_bytes().minimal * 4 * tokens + page_bytes() - Bytes(1)) /
                                   page_bytes());
}

// When a sample of 50 + 11 tokens begins to be trained, 1 ms after its answer, which takes 150 us and ten times 101 us.
Time training_begins() { return Time() + Duration::microseconds(150 + 10 * 101 + 1'000); }

// The sample's activations leave five blocks of 16. A request of 100 tokens comes meanwhile: its seven do not fit
// beside them. It does not begin, or in steps of 64 tokens it takes four, gives them back when it needs three more and,
// unless it finds them in the cache, begins again, as often as it likes. Training that stood back for it would keep the
// memory for ever.
TEST(ServingWaits, TrainingThatHoldsTheMemoryGoesOn) {
  const auto goes_on = [](const char* train, std::int32_t step_tokens, bool async, bool prefix_caching) {
    SCOPED_TRACE(std::string(train) + ' ' + std::to_string(step_tokens) + (async ? " async" : "") +
                 (prefix_caching ? " cached" : ""));
    World world;
    world.step_tokens = step_tokens;
    world.async = async;
    world.prefix_caching = prefix_caching;
    world.reserve_full_prompt = false;
    world.beside = std::string_view(train) == "beside";
    const Time arrival = training_begins() + Duration::microseconds(1);
    TrainingObserver observer;
    const SimulationTotals totals = world.run(
        {"none", "none", "none", "none", train},
        {make_request(at_ms(0), 50, 11, 1), make_request(arrival, 100, 1, 2), make_request(at_ms(5'000), 3, 1, 3)},
        observer, pages_of(world, 61) + 5, 1.0, Duration::milliseconds(1));
    EXPECT_EQ(totals.completed, 3);
    ASSERT_GE(observer.steps.size(), 1u);
    EXPECT_EQ(observer.steps[0].tokens, 61);
    ASSERT_FALSE(observer.pieces.empty());
    EXPECT_EQ(observer.pieces[0].start, training_begins()) << "the request comes during training";
    EXPECT_GT(observer.outcomes.at(RequestId(1)).first_token, arrival + Duration::microseconds(100 + 100));
  };
  for (const char* train : {"idle", "headroom", "token_fill", "whenever", "beside"}) {
    for (const std::int32_t step_tokens : {64, 1'024}) {
      for (const bool async : {false, true}) {
        for (const bool prefix_caching : {false, true}) goes_on(train, step_tokens, async, prefix_caching);
      }
    }
  }
}

// A request of 3 + 1 tokens comes during training's first piece, and its step of 103 us follows that. A layer's pieces
// leave hardly anything cold here, 61 millionths of 50 us, but 100 us without work would leave all: the GPU has worked.
TEST(ServingWaits, APieceIsNoIdleTime) {
  World world;
  world.cold_start.serving = Duration::microseconds(50);
  world.cold_start.piece_tokens = 1'000'000;
  world.cold_start.idle = Duration::microseconds(100);
  TrainingObserver observer;
  world.run(kTemporal,
            {make_request(at_ms(0), 50, 11, 1), make_request(training_begins() + Duration::microseconds(1), 3, 1, 2)},
            observer, 4'000, 1.0, Duration::milliseconds(1));
  ASSERT_FALSE(observer.pieces.empty());
  ASSERT_EQ(observer.pieces[0].start, training_begins());
  const Duration step = observer.outcomes.at(RequestId(1)).first_token - observer.pieces[0].end;
  EXPECT_NEAR(static_cast<double>(step.count_ns()), 103'000, 10);
}

// Words of a line of the log, of "0 > piece KIND LAYER FIRST TOKENS ...".
std::vector<std::string> words_of(std::string_view line) {
  std::istringstream text{std::string(line)};
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

// A sample of 255 tokens is trained while another request decodes. Steps have 256 tokens, one of which is that
// request's: 255 tokens may go through all 4 layers of the model between two steps, 4 * 255 tokens through one. The
// piece with which they reach that may go beyond it, as behind three layers and the head of 55 tokens; none begins
// after it.
TEST(ServingWaits, TokenFillFillsEachStepOnce) {
  World world;
  world.step_tokens = 256;
  world.batch_tokens = 255;
  std::int64_t since_step = 0, most_before_a_piece = 0, trained = 0;
  bool serves = false;  // the second request decodes
  world.record_events = [&](std::string_view line) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 7 || words[1] != ">") return;
    if (words[2] == "serve") {
      serves = words[4] == "1";
      since_step = 0;
    } else if (words[2] == "piece" && serves) {
      const std::int64_t tokens = std::stoll(words[6]);
      most_before_a_piece = std::max(most_before_a_piece, since_step);
      since_step += tokens;
      trained += tokens;
      EXPECT_LT(since_step, 4 * 255 + 255);
    }
  };
  TrainingObserver observer;
  world.run({"none", "none", "none", "none", "token_fill"},
            {make_request(at_ms(0), 200, 55, 1), make_request(at_ms(5), 20, 200, 2)}, observer, 4'000, 1.0,
            Duration::milliseconds(1));
  EXPECT_GE(most_before_a_piece, 3 * 255) << "the step is filled";
  EXPECT_GT(trained, 4 * 255) << "otherwise this tests nothing";
  EXPECT_LT(most_before_a_piece, 4 * 255);
}

}  // namespace
}  // namespace alchemist
