// A fitted joint model of multi-turn conversations: how many turns, first prompt, new user tokens, answers.
//
// A Gaussian copula. Each conversation has four standard normal traits: turns wanted N, first prompt F, user U, answer
// A, correlated with each other. Turn t of it has
//   user_t   = sqrt(user_share) U + sqrt(1 - user_share) w_t                      (t >= 1; turn 0 uses F)
//   answer_t = sqrt(answer_share) A + sqrt(1 - answer_share) e_t
//   e_t      = answer_memory e_(t-1) + sqrt(1 - answer_memory^2) v_t,   corr(w_t, v_t) = same_turn
// with independent standard normal w, v. Each latent value becomes tokens through a table of quantiles. The
// conversation ends after the turns it wants, or before the turn whose prompt and answer would exceed `limit`.
// tools/fit_sharegpt estimates the parameters; configs/workloads/models holds them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/base/random.h"
#include "workloads/distributions.h"

namespace alchemist {

// One exchange: what the user adds and what is answered.
struct Turn {
  std::int32_t new_tokens = 0;     // >= 1, without the history
  std::int32_t output_tokens = 0;  // >= 1
  Duration think;  // from the end of the previous answer (of the user, in any conversation) to this message
};

struct ConversationModel {
  std::int32_t limit = 8192;  // tokens, prompt + answer
  QuantileTable first_prompt;
  QuantileTable new_user_tokens;
  QuantileTable answer;
  std::vector<double> turn_threshold;  // more than k turns if N > turn_threshold[k - 1]; does not fall
  double user_share = 0;
  double answer_share = 0;
  double answer_memory = 0;
  double same_turn = 0;
  std::array<std::array<double, 4>, 4> traits_factor{};  // lower Cholesky factor of the traits' correlations

  // Replaces `turns` by one conversation; `think` is left at zero. The number of turns comes from `sessions`, the rest
  // from `lengths`.
  // Precondition: the first turn of one in some thousands of conversations, or more, fits the limit.
  void draw(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) const;

 private:
  void draw_once(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) const;
};

// Lower Cholesky factor of a correlation matrix given as {NF, NU, NA, FU, FA, UA}. Throws ConfigError if it is not
// positive definite.
std::array<std::array<double, 4>, 4> traits_factor(const std::array<double, 6>& correlations);

}  // namespace alchemist
