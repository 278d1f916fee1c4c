// The kinds of operations that a GPU runs for serving and training, where their times are summed or scaled by kind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sim/base/training_piece.h"

namespace alchemist {

// Serving steps without and with prompt tokens, and the kinds of training pieces.
enum class OperationKind : std::uint8_t { kDecode, kPrefill, kForward, kHead, kBackward, kOptimizer };
inline constexpr std::array<const char*, 6> kOperationNames = {"decode", "prefill",  "forward",
                                                               "head",   "backward", "optimizer"};

template <class T>
using ByOperation = std::array<T, kOperationNames.size()>;

inline OperationKind step_kind(std::int64_t prompt_tokens) {
  return prompt_tokens > 0 ? OperationKind::kPrefill : OperationKind::kDecode;
}

inline OperationKind kind_of(PieceKind piece) {
  switch (piece) {
    case PieceKind::kReferenceHead:
    case PieceKind::kHead:
      return OperationKind::kHead;
    case PieceKind::kBackward:
      return OperationKind::kBackward;
    case PieceKind::kOptimizer:
      return OperationKind::kOptimizer;
    default:
      return OperationKind::kForward;
  }
}

}  // namespace alchemist
