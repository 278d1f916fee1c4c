// Time of attention over a batch of decodes with uneven contexts, from what a profile of even batches tells about the
// kernel. One layer, one GPU.
//
//   time = launch + bytes of all keys and values at the streaming rate + what the longest context owes after that
//
// launch: the profile's shortest row (one sequence, shortest context).
// streaming rate: slope between the two longest rows of the largest batch. Even batches of the profile take longer than
//   that by a cost for each wave of thread blocks, because equal contexts start and end together and no other block's
//   loads cover a block's prologue. Blocks of uneven contexts fall out of step, and memory stays busy.
// what is owed: FlashAttention-2 without splits runs one block for each (KV head, sequence), heads outermost, and
// `slots`
//   blocks at a time. The longest context of the last head begins when the blocks before it are through, reads at
//   1/slots of the rate while the GPU is full, and at a rate of its own when everything else is done. That rate is
//   fitted, by number of sequences, to the profile's uneven batches (least squares, weighted by what is owed).
// Small batches are split along the context (num_splits_heuristic of FlashAttention-2) and owe nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/model/kernel_profile.h"

namespace alchemist {

class DecodeAttention {
 public:
  struct Kernel {
    std::int32_t processors = 0;            // SMs of the GPU
    std::int32_t blocks_per_processor = 1;  // thread blocks of the kernel that an SM holds
    std::int32_t kv_heads = 0;              // on this GPU
    std::int32_t max_context = 0;           // tokens; a captured graph chooses its splits for the longest possible one
  };
  // The profile has attention.
  DecodeAttention(const KernelProfile& profile, const Kernel& kernel);

  // `decodes` >= 1 sequences; `launched` >= decodes: with those that pad the batch to a captured size. Contexts count
  // the new token. Microseconds.
  double at(std::int32_t decodes, std::int32_t launched, std::int64_t context_sum, std::int32_t context_max) const;

 private:
  double owed_tokens(std::int32_t decodes, std::int32_t launched, double context_sum, double context_max) const;
  std::int32_t splits(std::int32_t sequences) const;

  Kernel kernel_;
  double slots_ = 0;
  double launch_us_ = 0;
  double rate_ = 0;         // tokens of one KV head a microsecond, all blocks together
  PointSeries alone_rate_;  // the same of a block left alone, by sequences
  bool knows_alone_rate_ = false;
  std::vector<bool> split_;  // by sequences, as far as any batch is split
};

}  // namespace alchemist
