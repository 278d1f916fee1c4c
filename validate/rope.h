// The frequencies of rotary embedding.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace alchemist {

// Llama 3.1's stretching of low frequencies for long contexts (`rope_type: llama3` in its config.json).
struct RopeScaling {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_position = 8192;
};

struct RopeSettings {
  double theta = 500000;
  std::optional<RopeScaling> scaling;
};

// Radians a position, for each of the head_dim / 2 pairs: theta^(-2 j / head_dim). With scaling, pairs that turn less
// than low_freq_factor times within the original context turn `factor` times slower, those that turn more than
// high_freq_factor times are left as they are, and in between the two are blended linearly in the number of turns.
std::vector<double> rope_frequencies(const RopeSettings& settings, std::int64_t head_dim);

}  // namespace alchemist
