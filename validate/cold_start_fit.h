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
  double amount = 0;  // tokens of a prompt; microseconds without work
  std::vector<Timing> excess;
};

struct ColdStartFit {
  double first_us = 0;       // of the first step behind training
  double steps = 1;          // sum over all steps, in units of the first
  double prompt_tokens = 0;  // that do what training does; 0: none do
  double idle_us = 0;        // without work that do; 0: none do
};

// Least squares. Behind training, step k takes first * q^k longer, q = 1 - 1 / steps. Behind another cause of `amount`,
// so does it times min(1, amount / limit).
ColdStartFit fit_cold_start(const std::vector<ColdCase>& cases);

}  // namespace alchemist
