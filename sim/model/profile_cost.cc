#include "sim/model/profile_cost.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

// Shared memory of one thread block of FlashAttention-2 at head_dim 128: 64 queries and two stages of 64 keys and
// values, bf16.
constexpr std::int64_t kFlashAttentionBlockBytes = 80 * 1024;

DecodeAttention::Kernel decode_kernel(const HardwareSpec& hardware, const ModelShape& model,
                                      const ProfileCostOptions& options) {
  DecodeAttention::Kernel kernel;
  kernel.processors = static_cast<std::int32_t>(hardware.processors);
  kernel.blocks_per_processor =
      static_cast<std::int32_t>(std::max<std::int64_t>(1, hardware.shared_memory.count() / kFlashAttentionBlockBytes));
  kernel.kv_heads = std::max<std::int32_t>(1, static_cast<std::int32_t>(model.kv_heads) / options.tensor_parallel);
  kernel.max_context = options.max_context;
  return kernel;
}

}  // namespace

std::int32_t captured_size(std::int32_t tokens) {
  if (tokens <= 2 || tokens > 512) return tokens;
  if (tokens <= 4) return 4;
  const std::int32_t step = tokens <= 256 ? 8 : 16;
  return (tokens + step - 1) / step * step;
}

ProfileCost::ProfileCost(const KernelProfile& profile, const HardwareSpec& hardware, const ModelShape& model,
                         const ProfileCostOptions& options)
    : origin_(profile.origin),
      options_(options),
      layers_(static_cast<double>(model.layers)),
      roofline_(hardware, model, options.tensor_parallel, options.max_num_batched_tokens, options.async_scheduling),
      host_time_(hardware.step_overhead),
      mixed_(profile.mixed),
      dense_tokens_measured_(profile.layer_dense.last_x()) {
  if (profile.has_attention()) {
    most_decodes_ = profile.decode.axis(0).back();
    longest_decode_ = profile.decode.axis(1).back();
  }
  check(profile.tensor_parallel == options.tensor_parallel, "the profile is for this degree of tensor parallelism");
  for (std::int32_t tokens = 0; tokens <= options.max_num_batched_tokens; ++tokens) {
    padded_.push_back(options.cuda_graphs ? captured_size(tokens) : tokens);
    const double t = padded_.back();
    const double layer_us = profile.layer_dense.at(t) + 1e6 * roofline_.all_reduce_seconds(t);
    dense_us_.push_back(layers_ * layer_us + profile.embedding.at(t) + profile.final_norm.at(t));
  }
  for (std::int32_t sequences = 0; sequences <= options.max_num_seqs; ++sequences) {
    head_us_.push_back(profile.has_attention() ? profile.head.at(sequences) : roofline_.head_seconds(sequences) * 1e6);
  }
  head_us_.front() = 0;
  if (profile.whole_layers) {
    decode_grid_ = profile.decode;
  } else if (profile.has_attention()) {
    decode_ = std::make_unique<DecodeAttention>(profile, decode_kernel(hardware, model, options));
  }
}

// Captured sizes are of whole steps: a mixed batch pads its decodes and prompt tokens together.
Duration ProfileCost::step(const BatchShape& shape) const {
  const std::int64_t tokens = shape.tokens();
  check(tokens >= 1 && tokens < static_cast<std::int64_t>(dense_us_.size()), "a step stays within the token budget");
  // A prompt that does not end here yields no token, but vLLM computes logits for the last position of every sequence.
  const std::size_t sequences = static_cast<std::size_t>(shape.decodes) + shape.prefills.size();
  const double gpu_us = dense_us_[static_cast<std::size_t>(tokens)] + layers_ * attention_us(shape) +
                        head_us_[std::min(sequences, head_us_.size() - 1)];
  if (gpu_us < 1e-3) {  // times that fall towards the end of what was measured, taken too far beyond it
    throw ConfigError(fmt::format(
        "profile {}: gives a step of {} tokens no time, by extrapolation; it needs measurements of larger steps",
        origin_, tokens));
  }
  return with_host_time(gpu_us * 1e-6, host_time_, options_.async_scheduling);
}

double ProfileCost::attention_us(const BatchShape& shape) const {
  if (!decode_ && !decode_grid_) return roofline_.attention_seconds(shape) / layers_ * 1e6;
  const double mean = shape.decodes > 0 ? static_cast<double>(shape.decode_context_sum) / shape.decodes : 0;
  if (shape.prefills.empty()) note_decodes(shape.decodes, mean);
  if (shape.prefills.empty() && decode_grid_) return decode_grid_->at({static_cast<double>(shape.decodes), mean});
  if (shape.prefills.empty()) {
    return decode_->at(shape.decodes, padded_[static_cast<std::size_t>(shape.decodes)], shape.decode_context_sum,
                       shape.decode_context_max);
  }
  return prompts_us(shape, mean);
}

void ProfileCost::note_decodes(double sequences, double mean_context) const {
  farthest_context_ = std::max(farthest_context_, mean_context / longest_decode_);
  most_sequences_ = std::max(most_sequences_, sequences / most_decodes_);
}

double ProfileCost::prompts_us(const BatchShape& shape, double mean_decode_context) const {
  double tokens = 0, work = 0;  // work: query-key pairs
  for (const PrefillChunk& chunk : shape.prefills) {
    tokens += chunk.tokens;
    work += static_cast<double>(chunk.tokens) * (chunk.context + 0.5 * chunk.tokens);
  }
  const double decodes = shape.decodes;
  const double keys = work / tokens;  // that a query sees, on average
  farthest_context_ = std::max(
      {farthest_context_, (keys - tokens / 2) / mixed_.axis(1).back(), mean_decode_context / mixed_.axis(3).back()});
  if (decodes > 0) most_sequences_ = std::max(most_sequences_, decodes / mixed_.axis(2).back());
  if (keys >= tokens / 2) return mixed_.at({tokens, keys - tokens / 2, decodes, mean_decode_context});
  // Short prompts side by side: as many copies of one of twice the mean number of keys as make up the tokens.
  const double each = 2 * keys;
  return mixed_.at({each, 0, decodes, mean_decode_context}) + (tokens / each - 1) * mixed_.at({each, 0, 0, 0});
}

std::vector<std::string> ProfileCost::warnings() const {
  std::vector<std::string> result;
  if (options_.max_num_batched_tokens > dense_tokens_measured_) {
    result.push_back(
        fmt::format("profile: steps of up to {} tokens were priced, {:.1f} times beyond the {:.0f} measured",
                    options_.max_num_batched_tokens, options_.max_num_batched_tokens / dense_tokens_measured_,
                    dense_tokens_measured_));
  }
  if (farthest_context_ > 1) {
    result.push_back(fmt::format(
        "profile: contexts up to {:.2f} times the longest measured were priced by extrapolation", farthest_context_));
  }
  if (most_sequences_ > 1) {
    result.push_back(
        fmt::format("profile: up to {:.2f} times as many decoding requests as measured were priced by "
                    "extrapolation",
                    most_sequences_));
  }
  return result;
}

}  // namespace alchemist
