#include "workloads/conversation_model.h"

#include <cmath>

#include "sim/base/error.h"

namespace alchemist {

void ConversationModel::draw(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) const {
  do {
    turns.clear();
    draw_once(sessions, lengths, turns);
  } while (turns.empty());  // the first turn did not fit: not in the data either
}

void ConversationModel::draw_once(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) const {
  const std::array<double, 4> z{sessions.normal(), lengths.normal(), lengths.normal(), lengths.normal()};
  std::array<double, 4> trait{};
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j <= i; ++j) trait[i] += traits_factor[i][j] * z[j];
  }
  std::size_t wanted = 1;
  while (wanted <= turn_threshold.size() && trait[0] > turn_threshold[wanted - 1]) ++wanted;

  std::int64_t history = 0;
  double memory = 0;
  for (std::size_t t = 0; t < wanted; ++t) {
    const double w = lengths.normal();
    const double v = same_turn * w + std::sqrt(1 - same_turn * same_turn) * lengths.normal();
    memory = t == 0 ? v : answer_memory * memory + std::sqrt(1 - answer_memory * answer_memory) * v;
    Turn turn;
    turn.new_tokens = t == 0
                          ? first_prompt.tokens_at(trait[1])
                          : new_user_tokens.tokens_at(std::sqrt(user_share) * trait[2] + std::sqrt(1 - user_share) * w);
    turn.output_tokens = answer.tokens_at(std::sqrt(answer_share) * trait[3] + std::sqrt(1 - answer_share) * memory);
    history += turn.new_tokens + turn.output_tokens;
    if (history > limit) break;
    turns.push_back(turn);
  }
}

std::array<std::array<double, 4>, 4> traits_factor(const std::array<double, 6>& c) {
  const std::array<std::array<double, 4>, 4> matrix{
      {{1, c[0], c[1], c[2]}, {c[0], 1, c[3], c[4]}, {c[1], c[3], 1, c[5]}, {c[2], c[4], c[5], 1}}};
  std::array<std::array<double, 4>, 4> factor{};
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double rest = matrix[i][j];
      for (std::size_t k = 0; k < j; ++k) rest -= factor[i][k] * factor[j][k];
      if (i != j) {
        factor[i][j] = rest / factor[j][j];
        continue;
      }
      if (!(rest > 1e-9)) throw ConfigError("the correlations of the traits contradict each other");
      factor[i][i] = std::sqrt(rest);
    }
  }
  return factor;
}

}  // namespace alchemist
