// Step times from measured kernels. A step = layers * (dense operators + attention) + embedding + final norm + head.
// The kernels are those of one GPU. Where layers are split over several, what passes between them is added by the rates
// of the hardware (all_reduce.h): two all-reduces a layer, of as many tokens as the dense operators have.
//
// Dense operators and the head are looked up by tokens and by sequences. With CUDA graphs a batch of up to 512 tokens
// is padded to the next captured size, and dense operators cost what they cost there (vLLM's default sizes: 1, 2, 4,
// then steps of 8 up to 256 and of 16 up to 512); attention and head work on what is really there. Attention: decodes
// alone by DecodeAttention, or, if the profile is of whole layers on a device of any kind, by its grid at their mean
// context; with prompts by the measured mixed grid, decodes at their mean context. Several prompt
// chunks of a step become one of equal work, which is proportional to sum tokens * (context + tokens/2). Parts that the
// profile lacks (Vidur's tables have no attention and no head) come from the roofline.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/model/decode_attention.h"
#include "sim/model/kernel_profile.h"
#include "sim/model/roofline_cost.h"
#include "sim/model/step_cost.h"

namespace alchemist {

struct ProfileCostOptions {
  std::int32_t max_num_batched_tokens = 2048;
  std::int32_t max_num_seqs = 256;
  std::int32_t max_context = 0;  // tokens of prompt and answer together
  std::int32_t tensor_parallel = 1;
  bool cuda_graphs = true;  // batches are padded to vLLM's captured sizes
  bool async_scheduling = true;
};

// The size that a captured graph runs a batch of `tokens` at; `tokens` itself beyond the largest.
std::int32_t captured_size(std::int32_t tokens);

class ProfileCost final : public StepCost {
 public:
  ProfileCost(const KernelProfile& profile, const HardwareSpec& hardware, const ModelShape& model,
              const ProfileCostOptions& options);

  Duration step(const BatchShape& shape) const override;
  Duration host_time() const override { return ahead_of_step(host_time_, options_.async_scheduling); }
  std::vector<std::string> warnings() const override;

 private:
  double attention_us(const BatchShape& shape) const;
  double prompts_us(const BatchShape& shape, double mean_decode_context) const;
  void note_decodes(double sequences, double mean_context) const;

  std::string origin_;
  ProfileCostOptions options_;
  double layers_ = 0;
  RooflineCost roofline_;
  Duration host_time_;
  std::vector<double> dense_us_;      // all layers, embedding and norm, by tokens
  std::vector<double> head_us_;       // by sequences
  std::vector<std::int32_t> padded_;  // by tokens
  Grid<4> mixed_;
  std::optional<Grid<2>> decode_grid_;  // in place of decode_: of a profile of whole layers
  std::unique_ptr<DecodeAttention> decode_;
  double dense_tokens_measured_ = 0;
  double most_decodes_ = 0, longest_decode_ = 0;  // measured in one step, and the context of each
  // Of what was priced, in multiples of the most that was measured; may be below 1.
  mutable double farthest_context_ = 0, most_sequences_ = 0;
};

}  // namespace alchemist
