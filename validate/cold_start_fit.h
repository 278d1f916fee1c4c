// The figures by which the simulator charges cold caches (sim/engine/turn_costs.h), out of measured steps.
#pragma once

#include <cstdint>
#include <vector>

#include "validate/measurement.h"

namespace alchemist {

enum class ColdCause : std::uint8_t { kTraining, kPrompt, kIdle };

// What steps take longer than warm ones, by their place behind the cause.
struct ColdCase {
  ColdCause cause = ColdCause::kTraining;
  // Tokens of the training pieces, of a layer each, that ran in warm caches, or 0: turn after turn of them. Tokens of a
  // prompt. Microseconds without work.
  double amount = 0;
  std::vector<Timing> excess;
};

struct ColdStartFit {
  double first_us = 0;       // of the first step behind turns of training
  double steps = 1;          // sum over all steps, in units of the first
  double piece_tokens = 0;   // of single pieces that do what these do; 0: unknown, or none do
  double prompt_tokens = 0;  // that do what training does; 0: none do
  double idle_us = 0;        // without work that do; 0: none do
};

// Least squares. Behind turns of training, step k takes first * q^k longer, q = 1 - 1 / steps. Behind single pieces or
// another cause of `amount`, so does it times min(1, amount / limit).
ColdStartFit fit_cold_start(const std::vector<ColdCase>& cases);

}  // namespace alchemist
