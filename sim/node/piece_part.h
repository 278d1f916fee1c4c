// Parts of a piece of training: what of one layer fits into the gap that serving leaves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "sim/base/time.h"
#include "sim/base/training_piece.h"
#include "sim/policy/decisions.h"
#include "sim/policy/estimator.h"

namespace alchemist {

// Its tokens, or the parameters of an optimizer piece.
std::int64_t size_of(const TrainingPiece& piece);

// Keys that the tokens of a piece attend to, whatever the piece itself says of them.
using KeysOfPiece = std::function<double(const TrainingPiece&)>;

// The first `size` tokens or parameters of it. What of it is rebuilt or run again, and changes of adapters, are
// taken to lie evenly.
TrainingPiece first_part(const TrainingPiece& piece, std::int64_t size, const KeysOfPiece& keys);

struct PricedPiece {
  TrainingPiece piece;
  Duration expected;
};

// As much of the piece as keeps to the allowance by the estimator's reckoning: all of it, or a multiple of `tile`
// tokens. If that is too little to be worth a launch: the smallest part that is, or none, as the allowance says. None
// too if it would have to be cut where the allowance does not have it cut. `allowance.tokens` and `tile` have no say
// over an optimizer piece.
std::optional<PricedPiece> part_within(const TrainingPiece& piece, const TrainAllowance& allowance,
                                       const Estimator& estimator, const KeysOfPiece& keys, std::int64_t tile = 1);

}  // namespace alchemist
