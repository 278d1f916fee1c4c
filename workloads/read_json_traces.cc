// The JSON-lines formats: Mooncake and the two kinds of LLMServingSim.
#include <array>
#include <cmath>
#include <string_view>

#include "sim/base/error.h"
#include "sim/base/random.h"
#include "workloads/json_line.h"
#include "workloads/read_trace.h"

namespace alchemist {
namespace {

constexpr std::string_view kStateBlock =
    "state the block size (--set workload.trace.block_tokens=N; of `alchemist workload`: --block-tokens N)";

// Hash ids per prompt by block size: published traces have one id for every block including a last partial one
// (Mooncake, 512 tokens), or for full blocks only (16 tokens).
struct BlockGuess {
  std::int32_t tokens;
  bool full_only;
  bool possible = true;
  bool accepts(std::int64_t prompt, std::int64_t ids) const {
    return ids == (full_only ? prompt / tokens : (prompt + tokens - 1) / tokens);
  }
};

class BlockInference {
 public:
  void observe(std::int64_t prompt, std::int64_t ids) {
    any_ids_ |= ids > 0;
    for (BlockGuess& guess : guesses_) guess.possible &= guess.accepts(prompt, ids);
  }
  // Tokens per id; 0 if there are no ids at all.
  std::int32_t result(const std::string& path) const {
    if (!any_ids_) return 0;
    std::int32_t found = 0;
    for (const BlockGuess& guess : guesses_) {
      if (!guess.possible) continue;
      if (found != 0 && found != guess.tokens) {
        throw ConfigError::at(path, 0, "hash_ids fit blocks of 16 and of 512 tokens: " + std::string(kStateBlock));
      }
      found = guess.tokens;
    }
    if (found == 0) {
      throw ConfigError::at(path, 0,
                            "hash_ids fit neither blocks of 16 nor of 512 tokens: " + std::string(kStateBlock));
    }
    return found;
  }

 private:
  std::array<BlockGuess, 4> guesses_{{{16, false}, {16, true}, {512, false}, {512, true}}};
  bool any_ids_ = false;
};

void check_stated_block(std::int64_t prompt, std::int64_t ids, std::int64_t block, const LineReader& lines) {
  if (ids == 0 || ids == prompt / block || ids == (prompt + block - 1) / block) return;
  lines.fail("expected " + std::to_string(prompt / block) + " or " + std::to_string((prompt + block - 1) / block) +
             " hash_ids for " + std::to_string(prompt) + " prompt tokens in blocks of " + std::to_string(block) +
             ", got " + std::to_string(ids));
}

constexpr std::int32_t kTokenIdBlock = 16;

// Chain ids of the full blocks of a prompt whose tokens are known.
std::vector<std::uint64_t> chain_of_tokens(const std::vector<std::uint64_t>& tokens) {
  std::vector<std::uint64_t> chain;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    hash = mix64(hash, tokens[i]);
    if ((i + 1) % kTokenIdBlock == 0) chain.push_back(hash);
  }
  return chain;
}

// One request of LLMServingSim, alone or within a chain.
void add_llmservingsim(const JsonLine& json, const std::string& session, Duration arrival,
                       std::optional<Duration> after_previous, const LineReader& lines, TraceBuilder& builder,
                       Trace& trace) {
  const std::int32_t prompt = json.tokens("input_toks");
  TraceRow* row = builder.add_turn(session, arrival, prompt, json.tokens("output_toks"));
  if (!row) return;
  if (row->turn > 0) row->after_previous = after_previous;
  if (!json.has("input_tok_ids")) return;
  const std::vector<std::uint64_t> tokens = json.ids("input_tok_ids");
  if (tokens.empty()) return;
  if (static_cast<std::int64_t>(tokens.size()) != prompt) {
    lines.fail("key \"input_tok_ids\": expected " + std::to_string(prompt) + " ids as input_toks says, got " +
               std::to_string(tokens.size()));
  }
  builder.set_chain(*row, chain_of_tokens(tokens));
  trace.chain_block_tokens = kTokenIdBlock;
}

}  // namespace

void read_mooncake(const TraceSpec& spec, Trace& trace) {
  LineReader lines(spec.path);
  TraceBuilder builder(trace);
  BlockInference inference;
  while (lines.next()) {
    const JsonLine json(lines);
    const auto arrival = clock_time(json.number("timestamp") * 1e-3);
    if (!arrival) lines.fail("key \"timestamp\": expected a time within 200 years");
    const std::int32_t prompt = json.tokens("input_length");
    const std::int32_t output = json.tokens("output_length");
    const auto ids = json.has("hash_ids") ? json.ids("hash_ids") : std::vector<std::uint64_t>();
    const auto count = static_cast<std::int64_t>(ids.size());
    if (spec.block_tokens) {
      check_stated_block(prompt, count, *spec.block_tokens, lines);
    } else {
      inference.observe(prompt, count);
    }
    if (TraceRow* row = builder.add(*arrival, prompt, output)) builder.set_chain(*row, ids);
  }
  trace.chain_block_tokens = spec.block_tokens ? *spec.block_tokens : inference.result(spec.path);
}

void read_llmservingsim(const TraceSpec& spec, Trace& trace) {
  LineReader lines(spec.path);
  TraceBuilder builder(trace);
  while (lines.next()) {
    const JsonLine json(lines);
    const Duration arrival = Duration::nanoseconds(json.integer("arrival_time_ns"));
    if (!json.has("sub_requests")) {
      add_llmservingsim(json, "", arrival, std::nullopt, lines, builder, trace);
      continue;
    }
    // Each line is a session of its own, even if two carry the same session_id.
    const std::string session = json.text("session_id") + ":" + std::to_string(lines.line());
    Duration wait;  // from the end of the previous answer
    for (const JsonLine& request : json.objects("sub_requests")) {
      add_llmservingsim(request, session, arrival, wait, lines, builder, trace);
      wait = request.has("tool_duration_ns") ? Duration::nanoseconds(request.integer("tool_duration_ns")) : Duration();
    }
  }
}

}  // namespace alchemist
