// The full description of a workload, without any file syntax: what the generators need and nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "sim/base/distribution.h"
#include "sim/base/time.h"

namespace alchemist {

struct ConversationModel;  // workloads/conversation_model.h

// ---- when requests arrive; every rate is requests (turns) per second -------------------------------------------

struct PoissonArrivals {
  double rate = 1.0;
};
// Renewal process with gamma gaps of mean 1 / rate and coefficient of variation cv (1 is Poisson, 0 is not allowed).
struct GammaArrivals {
  double rate = 1.0;
  double cv = 1.0;
};
// Two-state Markov-modulated Poisson process: exponential stays of the given means, Poisson arrivals within each.
struct OnOffArrivals {
  double rate_on = 1.0;
  double rate_off = 0.0;
  Duration mean_on = Duration::seconds(60);
  Duration mean_off = Duration::seconds(60);
};
// Poisson with rate(t) = rate * (1 + a cos(2 pi (t - peak_at) / period)), a = (peak/trough - 1) / (peak/trough + 1).
struct DiurnalArrivals {
  double rate = 1.0;
  double peak_to_trough = 3.0;  // >= 1
  Duration period = Duration::seconds(86'400);
  Duration peak_at = Duration::seconds(50'400);  // of the first peak, counted from the start
};
// One every 1 / rate seconds, the first at 0.
struct FixedArrivals {
  double rate = 1.0;
};

// How a file is read; see workloads/trace.h for the formats.
enum class TraceFormat { automatic, vidur, azure, burstgpt, mooncake, llmservingsim, vllm_bench, sharegpt };

struct TraceSpec {
  std::string path;
  TraceFormat format = TraceFormat::automatic;
  double rate_scale = 1.0;                     // 2 plays the trace twice as fast
  std::optional<double> rate;                  // requests/s: scale so that the mean is this; excludes rate_scale
  std::optional<std::int32_t> block_tokens;    // tokens that one hash id stands for; inferred where absent
  std::optional<double> characters_per_token;  // ShareGPT JSON: tokens = ceil(characters / this)
  std::optional<std::string> tokenizer;        // ShareGPT JSON: a SentencePiece .model
};

// The arrival times of a trace, with lengths from elsewhere.
struct TraceArrivals {
  TraceSpec trace;
};

// Closed loop: `concurrent` users, each holding one conversation after the other. A turn arrives a think time after
// the previous answer was complete, a new conversation a think time after the last one ended (the first: after the
// start).
struct ClosedLoopArrivals {
  std::int32_t concurrent = 1;
};

using ArrivalSpec = std::variant<PoissonArrivals, GammaArrivals, OnOffArrivals, DiurnalArrivals, FixedArrivals,
                                 TraceArrivals, ClosedLoopArrivals>;

// ---- how long they are, in tokens -------------------------------------------------------------------------------

struct FixedTokens {
  std::int64_t tokens = 1;
};
struct UniformTokens {  // low and high included
  std::int64_t low = 1;
  std::int64_t high = 1;
};
struct LognormalTokens {  // rounded to the nearest, at least 1
  double median = 1.0;
  double sigma = 0.0;  // deviation of the logarithm
};
struct ZipfTokens {  // P(k) proportional to k^-exponent for k = low..high
  double exponent = 1.0;
  std::int64_t low = 1;
  std::int64_t high = 1;
};
using TokenDistribution = std::variant<FixedTokens, UniformTokens, LognormalTokens, ZipfTokens>;

// Independent draws. `prompt` is the user's new tokens of a turn; the history comes on top in later turns.
struct IndependentLengths {
  TokenDistribution prompt;
  TokenDistribution output;
};
// Whole conversations of a file (any readable format, or conversation,turn,num_prefill_tokens,num_decode_tokens), drawn
// with replacement; a file without sessions is a file of one-turn conversations.
struct EmpiricalLengths {
  TraceSpec trace;
};
// Fitted joint model of turns, first prompt, new user tokens and answers.
struct ModelLengths {
  std::string name;  // as the user gave it, to be written back: built-in name or absolute path
  std::shared_ptr<const ConversationModel> model;
};
using LengthSpec = std::variant<IndependentLengths, EmpiricalLengths, ModelLengths>;

// ---- conversations ----------------------------------------------------------------------------------------------

// How many turns a conversation has, for IndependentLengths (the other two know it themselves).
struct TurnsSpec {
  enum class Kind { fixed, geometric };
  Kind kind = Kind::fixed;
  double mean = 1.0;  // fixed: the number itself
};

// Several turns per conversation, each carrying the whole history as its prompt. Absent: every request stands alone and
// only the first turn of a conversation is drawn.
//
// In an open loop the arrival process fixes *when requests arrive* and so the rate of requests. Who sends the request
// that arrives: the conversation that has been ready for its next turn longest; if none is ready, a new one begins. A
// conversation is ready a think time after its answer is thought to be complete, which is answer_delay +
// output_tokens * answer_time_per_token after its arrival: arrivals never depend on how fast the system under test is,
// so policies are compared on the same requests. In a closed loop the true end of the answer is used instead.
struct SessionSpec {
  TurnsSpec turns;
  DurationDistribution think_time;  // from the end of an answer to the next message
  Duration answer_delay = Duration::milliseconds(200);
  Duration answer_time_per_token = Duration::milliseconds(30);
  // Open loop: this long before the start the population of conversations begins to build up, so that the mix of first
  // and later turns is steady from the first request on. Those earlier requests are not emitted.
  Duration warm_up;
};

// ---- all of it --------------------------------------------------------------------------------------------------

struct GeneratedWorkload {
  ArrivalSpec arrivals;
  LengthSpec lengths;
  std::optional<SessionSpec> sessions;  // required for closed loop
  // Limits: a draw beyond them is cut down to them, a conversation ends before the turn that would exceed them.
  std::optional<std::int32_t> max_prompt_tokens;
  std::optional<std::int32_t> max_output_tokens;
  std::optional<std::int32_t> max_total_tokens;  // prompt + output
};

struct WorkloadSpec {
  std::string name;                                   // for summaries: built-in name, file or "inline"
  std::variant<GeneratedWorkload, TraceSpec> source;  // TraceSpec: replay of requests as they are
  // The first of the two to be reached ends the workload; a generated one needs at least one of them.
  std::optional<std::int64_t> requests;
  std::optional<Duration> duration;
};

}  // namespace alchemist
