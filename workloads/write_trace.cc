#include "workloads/write_trace.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {
namespace {

// Seconds with nine decimals, from the integer, so that they read back to the same nanosecond.
std::string seconds_text(Time t) {
  const std::int64_t ns = t.count_ns();
  return fmt::format("{}.{:09}", ns / 1'000'000'000, ns % 1'000'000'000);
}

std::string azure_timestamp(Time t) {
  constexpr std::int64_t kStart = 1'672'531'200;  // 2023-01-01 00:00:00, Unix clock
  const std::int64_t ticks = (t.count_ns() + 50) / 100;
  const auto clock = static_cast<std::time_t>(kStart + ticks / 10'000'000);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:07}", fmt::gmtime(clock), ticks % 10'000'000);
}

// Of a block that is written, which begins at `begin`.
std::uint64_t block_identity(const WorkloadRequest& r, std::int32_t begin, std::int32_t block) {
  const auto number = static_cast<std::size_t>(begin / block);
  // An id that was read for the same block stands for as much of it as a prompt has: prompts of different lengths may
  // end in it.
  if (r.content.chain_block_tokens == block && number < r.content.chain_ids.size()) {
    return mix64(r.content.chain_ids[number], hash_name("block"));
  }
  const std::int32_t end = std::min(begin + block, r.prompt_tokens);
  const std::uint64_t identity = prefix_identity(r.content, end);
  // What is left of a block is nobody else's whole block.
  return end - begin < block ? mix64(identity, r.session.value() + 1) : identity;
}

}  // namespace

std::uint64_t prefix_identity(const PromptContent& content, std::int32_t end) {
  const std::int32_t last = end - 1;
  const auto chained = static_cast<std::int64_t>(content.chain_ids.size());
  if (chained > 0 && last / content.chain_block_tokens < chained) {
    // A chain id covers its whole block, so two prompts that differ within it are told apart even where they agree so
    // far.
    const std::uint64_t id = content.chain_ids[static_cast<std::size_t>(last / content.chain_block_tokens)];
    return mix64(mix64(id, hash_name("chain")), static_cast<std::uint64_t>(end));
  }
  const std::uint64_t before = chained > 0 ? content.chain_ids.back() + 1 : 0;
  return mix64(mix64(content.content_id, before), static_cast<std::uint64_t>(end));
}

TraceWriter::TraceWriter(TraceFormat format, std::optional<std::int32_t> block_tokens)
    : format_(format), block_tokens_(block_tokens) {
  check(writes(format) && block_tokens.value_or(1) >= 1, "a format to write");
}

bool TraceWriter::writes(TraceFormat format) {
  return format == TraceFormat::vidur || format == TraceFormat::azure || format == TraceFormat::burstgpt ||
         format == TraceFormat::mooncake || format == TraceFormat::llmservingsim;
}

void TraceWriter::header(std::string& out) const {
  if (format_ == TraceFormat::vidur) out += "arrived_at,num_prefill_tokens,num_decode_tokens,session_id,turn\n";
  if (format_ == TraceFormat::azure) out += "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  if (format_ == TraceFormat::burstgpt) {
    out += "Timestamp,Session ID,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
  }
}

void TraceWriter::request(const WorkloadRequest& r, std::string& out) {
  later_turns_ += r.turn > 0 ? 1 : 0;
  hashed_ += r.content.chain_ids.empty() ? 0 : 1;
  auto to = std::back_inserter(out);
  switch (format_) {
    case TraceFormat::vidur:
      fmt::format_to(to, "{},{},{},{},{}\n", seconds_text(r.arrival), r.prompt_tokens, r.output_tokens,
                     r.session.value(), r.turn);
      break;
    case TraceFormat::azure:
      fmt::format_to(to, "{},{},{}\n", azure_timestamp(r.arrival), r.prompt_tokens, r.output_tokens);
      break;
    case TraceFormat::burstgpt:
      fmt::format_to(to, "{},{},ChatGPT,{},{},{},Conversation log\n", seconds_text(r.arrival), r.session.value(),
                     r.prompt_tokens, r.output_tokens, std::int64_t{r.prompt_tokens} + r.output_tokens);
      break;
    case TraceFormat::mooncake:
      mooncake(r, out);
      break;
    case TraceFormat::llmservingsim:
      fmt::format_to(to, "{{\"input_toks\": {}, \"output_toks\": {}, \"arrival_time_ns\": {}}}\n", r.prompt_tokens,
                     r.output_tokens, r.arrival.count_ns());
      break;
    default:
      check(false, "a format that can be written");
  }
}

std::string TraceWriter::lost() const {
  const bool keeps_sessions = format_ == TraceFormat::vidur || format_ == TraceFormat::burstgpt;
  const bool keeps_hashes = format_ == TraceFormat::mooncake;
  std::string text;
  if (!keeps_hashes && hashed_ > 0) text = fmt::format("which prompts begin alike ({} have hashes of it)", hashed_);
  if (!keeps_sessions && later_turns_ > 0) {
    text += fmt::format("{}which of them are later turns of a conversation ({})", text.empty() ? "" : ", and ",
                        later_turns_);
  }
  return text;
}

void TraceWriter::mooncake(const WorkloadRequest& r, std::string& out) {
  constexpr std::int32_t kMooncakeBlock = 512;
  if (!block_tokens_) block_tokens_ = r.content.chain_ids.empty() ? kMooncakeBlock : r.content.chain_block_tokens;
  const std::int32_t block = *block_tokens_;
  const std::int64_t us = (r.arrival.count_ns() + 500) / 1'000;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{{\"timestamp\": {}.{:03}, \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [",
                 us / 1'000, us % 1'000, r.prompt_tokens, r.output_tokens);
  for (std::int32_t begin = 0; begin < r.prompt_tokens; begin += block) {
    const std::uint64_t identity = block_identity(r, begin, block);
    const std::uint64_t number = block_numbers_.try_emplace(identity, block_numbers_.size()).first->second;
    fmt::format_to(to, "{}{}", begin == 0 ? "" : ", ", number);
  }
  out += "]}\n";
}

}  // namespace alchemist
