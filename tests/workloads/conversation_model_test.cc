// The joint model of conversations (conversation_model.h): what it draws has the distributions that it was given.
#include "workloads/conversation_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace alchemist {
namespace {

// A tenth of all lengths are 10 at most, half 100, and nine tenths 1,000; half of the conversations want more than one
// turn, and a tenth more than two. Answers have much in common with the one before, and a little of their own writer.
ConversationModel model() {
  const QuantileTable table({0.1, 0.5, 0.9}, {10, 100, 1'000});
  ConversationModel m;
  m.first_prompt = m.new_user_tokens = m.answer = table;
  m.turn_threshold = {0, 1.2816};
  m.user_share = 0.3;
  m.answer_share = 0.2;
  m.answer_memory = 0.9;
  m.traits_factor = traits_factor({0, 0, 0, 0, 0, 0});
  return m;
}

std::vector<std::vector<Turn>> draw(const ConversationModel& m, int count) {
  RandomStream sessions(1, "sessions"), lengths(1, "lengths");
  std::vector<std::vector<Turn>> all(static_cast<std::size_t>(count));
  for (std::vector<Turn>& turns : all) m.draw(sessions, lengths, turns);
  return all;
}

// Of the conversations that have a turn `turn`, those in which `tokens` of it is less than 1,000, nine tenths by the
// table, and less than 100, a half.
template <class Tokens>
void expect_table(const std::vector<std::vector<Turn>>& conversations, std::size_t turn, Tokens&& tokens) {
  double count = 0, below_half = 0, below_nine_tenths = 0;
  for (const std::vector<Turn>& turns : conversations) {
    if (turns.size() <= turn) continue;
    ++count;
    below_half += tokens(turns[turn]) < 100;
    below_nine_tenths += tokens(turns[turn]) < 1'000;
  }
  ASSERT_GT(count, 2'000);
  EXPECT_NEAR(below_half / count, 0.5, 0.04);
  EXPECT_NEAR(below_nine_tenths / count, 0.9, 0.02);
}

// The first answer has no answer before it, and varies as much as the others all the same.
TEST(ConversationModel, LengthsFollowTheirTablesInEveryTurn) {
  const auto conversations = draw(model(), 30'000);
  for (const std::size_t turn : {0, 1, 2}) {
    expect_table(conversations, turn, [](const Turn& t) { return t.new_tokens; });
    expect_table(conversations, turn, [](const Turn& t) { return t.output_tokens; });
  }
}

TEST(ConversationModel, TurnsFollowTheThresholds) {
  const auto conversations = draw(model(), 30'000);
  const auto share = [&](std::size_t turns) {
    return static_cast<double>(std::ranges::count(conversations, turns, &std::vector<Turn>::size)) / 30'000;
  };
  EXPECT_NEAR(share(1), 0.5, 0.015);
  EXPECT_NEAR(share(2), 0.4, 0.015);
  EXPECT_NEAR(share(3), 0.1, 0.01);
}

// Latent values of two neighbouring answers have a correlation of 0.2 + 0.8 * 0.9 = 0.92, so that both are above their
// median in 1/4 + asin(0.92) / 2 pi = 43.5 % of conversations; without memory, in 1/4 + asin(0.2) / 2 pi = 28.2 %.
TEST(ConversationModel, AnswersRememberTheOneBefore) {
  for (const auto& [memory, expected] : {std::pair(0.9, 0.435), std::pair(0.0, 0.282)}) {
    ConversationModel m = model();
    m.answer_memory = memory;
    double count = 0, both = 0;
    for (const std::vector<Turn>& turns : draw(m, 30'000)) {
      if (turns.size() < 2) continue;
      ++count;
      both += turns[0].output_tokens >= 100 && turns[1].output_tokens >= 100;
    }
    EXPECT_NEAR(both / count, expected, 0.015) << memory;
  }
}

// A turn whose prompt and answer would exceed the limit does not come, and a conversation has at least one that fits.
TEST(ConversationModel, NothingExceedsTheLimit) {
  ConversationModel m = model();
  m.limit = 300;
  std::size_t turns_in_all = 0;
  for (const std::vector<Turn>& turns : draw(m, 5'000)) {
    ASSERT_FALSE(turns.empty());
    turns_in_all += turns.size();
    std::int64_t history = 0;
    for (const Turn& turn : turns) history += turn.new_tokens + turn.output_tokens;
    EXPECT_LE(history, 300);
  }
  EXPECT_GT(turns_in_all, 5'500u) << "some have a second turn";
  // A prompt and an answer of ten tokens each that fill the limit are within it, and leave no room for another turn.
  m.first_prompt = m.new_user_tokens = m.answer = QuantileTable({0.1, 0.9}, {10, 10});
  m.limit = 20;
  for (const std::vector<Turn>& turns : draw(m, 100)) ASSERT_EQ(turns.size(), 1u);
}

// All that a user writes in a conversation follows the user; or it follows its turn, and the answer does alike.
TEST(ConversationModel, WhatAUserWritesFollowsTheUserOrTheTurn) {
  ConversationModel by_user = model();
  by_user.user_share = 1;
  int others = 0;  // than the first prompt, which is something else
  for (const std::vector<Turn>& turns : draw(by_user, 1'000)) {
    if (turns.size() < 3) continue;
    EXPECT_EQ(turns[1].new_tokens, turns[2].new_tokens);
    others += turns[0].new_tokens != turns[1].new_tokens;
  }
  EXPECT_GT(others, 50);
  ConversationModel by_turn = model();
  by_turn.user_share = by_turn.answer_share = by_turn.answer_memory = 0;
  by_turn.same_turn = 1;
  for (const std::vector<Turn>& turns : draw(by_turn, 1'000)) {
    for (std::size_t t = 1; t < turns.size(); ++t) EXPECT_EQ(turns[t].new_tokens, turns[t].output_tokens);
  }
}

}  // namespace
}  // namespace alchemist
