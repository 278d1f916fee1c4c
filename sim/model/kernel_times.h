// Time of a row of kernels by the roofline of one GPU: each takes the longest of its matrix arithmetic, its vector
// arithmetic and its memory traffic at the rates that large kernels reach, plus a launch; an all-reduce of activations
// its time between the GPUs (all_reduce.h), beside which nothing else runs. Products with large weights are made of
// whole waves of tiles (matrix_tiles.h), in training as in serving; those of experts are not, and read the experts that
// their tokens reach (expert_share.h). Pieces of training are priced for every gap between two serving steps, so what
// can be is worked out beforehand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/model/expert_share.h"
#include "sim/model/hardware.h"
#include "sim/model/layer_graph.h"

namespace alchemist {

class KernelTimes {
 public:
  KernelTimes() = default;  // of no kernel
  // Of one of `tensor_parallel` GPUs.
  KernelTimes(const std::vector<Kernel>& kernels, const HardwareSpec& hardware, std::int64_t tensor_parallel);

  // For `tokens` tokens that attend to `keys` keys in sum.
  double seconds(double tokens, double keys) const;
  // Of these, what passes between the GPUs of a replica.
  double all_reduce_seconds(double tokens) const { return all_reduces_.at(tokens, 0); }
  // That the kernels move between memory and processors.
  double traffic_bytes(double tokens) const {
    return weight_bytes_ + expert_bytes_ * reached_share(token_share_, tokens) + bytes_per_token_ * tokens;
  }

 private:
  // Seconds as a linear function.
  struct Line {
    double fixed = 0;
    double per_token = 0;
    double per_key = 0;
    double at(double tokens, double keys) const { return fixed + per_token * tokens + per_key * keys; }
    bool never_above(const Line& other) const {
      return fixed <= other.fixed && per_token <= other.per_token && per_key <= other.per_key;
    }
  };
  struct Bound {
    Line line;
    double tiles_across = 0;  // > 0: a product in tiles, so many for each row of them, in place of the line
    double tile_seconds = 0;  // of one, where all processors work
    double token_share = 1;   // < 1: of the line's fixed part, which is the reading of experts
    bool last = false;        // of its kernel
  };
  void add(std::span<const Line> bounds, const Bound& product);
  double at(const Bound& bound, double tokens, double keys, double tiles_down) const;

  Line sum_;                   // of the kernels that the same resource bounds whatever their size, and of the launches
  Line all_reduces_;           // all of them, which are in sum_ as well
  std::vector<Bound> bounds_;  // of the others: the highest counts
  double processors_ = 1;
  double weight_bytes_ = 0;  // of all but experts
  double expert_bytes_ = 0;  // of all experts
  double token_share_ = 1;   // of the experts, that one token needs
  double bytes_per_token_ = 0;
};

}  // namespace alchemist
