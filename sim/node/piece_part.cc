#include "sim/node/piece_part.h"

#include <algorithm>

namespace alchemist {
namespace {

// Fewer tokens would leave matrix units idle and pay for reading the weights all the same; fewer parameters would not
// be worth a launch.
constexpr std::int64_t kFewestTokens = 128, kFewestParameters = 1 << 20;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

std::int64_t size_of(const TrainingPiece& piece) {
  return piece.kind == PieceKind::kOptimizer ? piece.parameters : piece.tokens;
}

TrainingPiece first_part(const TrainingPiece& piece, std::int64_t size, const KeysOfPiece& keys) {
  TrainingPiece part = piece;
  const double share = static_cast<double>(size) / static_cast<double>(size_of(piece));
  const auto of = [&](std::int64_t whole) { return static_cast<std::int64_t>(static_cast<double>(whole) * share); };
  (piece.kind == PieceKind::kOptimizer ? part.parameters : part.tokens) = size;
  part.attended_keys = keys(part);
  part.rebuild_tokens = of(piece.rebuild_tokens);
  part.recorded_targets = of(piece.recorded_targets);
  part.checkpoint_tokens = of(piece.checkpoint_tokens);
  part.adapter_changes = piece.adapter_changes * share;
  return part;
}

std::optional<PricedPiece> part_within(const TrainingPiece& piece, const TrainAllowance& allowance,
                                       const Estimator& estimator, const KeysOfPiece& keys, std::int64_t tile) {
  if (allowance.time <= Duration()) return std::nullopt;
  const Duration whole = estimator.piece(piece);
  const bool is_optimizer = piece.kind == PieceKind::kOptimizer;
  const std::int64_t unit = is_optimizer ? 1 : tile, full = size_of(piece);
  const std::int64_t smallest = is_optimizer ? kFewestParameters : round_up(kFewestTokens, tile);
  std::int64_t size = is_optimizer ? full : std::min(full, allowance.tokens);
  if (whole > allowance.time) {
    const double share = allowance.time / whole;
    size = std::min(size, static_cast<std::int64_t>(static_cast<double>(full) * share));
  }
  if (size == full) return PricedPiece{piece, whole};
  if (allowance.time < allowance.cut_from) return std::nullopt;
  // A part costs more than its share, because it reads the weights again: it shrinks until it fits, each time to where
  // the straight line through its time and the whole's meets the allowance.
  for (size = size / unit * unit; size >= smallest; size = size / unit * unit) {
    const TrainingPiece part = first_part(piece, size, keys);
    const Duration expected = estimator.piece(part);
    if (expected <= allowance.time) return PricedPiece{part, expected};
    const double slope = (whole - expected).in_seconds() / static_cast<double>(full - size);
    const double excess = (expected - allowance.time).in_seconds() / slope;
    const std::int64_t least = std::max<std::int64_t>(size / 64, 1), most = std::max<std::int64_t>(size / 2, 1);
    const bool in_range = slope > 0 && excess < static_cast<double>(most);
    size -= in_range ? std::max(least, static_cast<std::int64_t>(excess) + 1) : most;
  }
  if (!allowance.smallest_part) return std::nullopt;
  const TrainingPiece part = first_part(piece, std::min(full, smallest), keys);
  return PricedPiece{part, estimator.piece(part)};
}

}  // namespace alchemist
