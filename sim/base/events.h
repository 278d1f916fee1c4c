// What the world tells a node, each stamped with its time. A node is a function of these and nothing else. None of them
// carries an output length: how long an answer is belongs to the world until the completion that ends it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "sim/base/ids.h"
#include "sim/base/time.h"
#include "sim/base/workload.h"

namespace alchemist {

// Index of a live request in the tables of its world and its node; used again after the request has ended.
using RequestHandle = Id<struct RequestHandleTag>;

struct Arrival {
  RequestHandle request;
  RequestId id;
  SessionId session;
  std::int32_t prompt_tokens = 0;
  PromptContent content;
  bool foresees_feedback = false;          // true for clairvoyant policies alone, which are told the next field
  std::optional<Duration> feedback_delay;  // after the answer; none: there will be no feedback
};

// Progress of an operation. With asynchronous scheduling a host reports twice: when the last step of the operation
// begins, so that the node plans what follows meanwhile, and when the operation is done. An operation whose requests
// have all ended is done without a last step.
struct Completion {
  OpId op;
  bool done = true;                      // false: its last step has just begun
  std::int64_t steps = 1;                // steps ended so far
  Duration ran;                          // time since the operation began
  std::span<const RequestHandle> ended;  // requests whose last token came since the last report; their handles end here
};

// The user's feedback on a served answer has come: it is a training sample now. Tokens of the conversation up to and
// including the answer. A preference pair brings one other answer to the same prompt, a group several; they were never
// served. Every answer is trained behind a copy of the prompt, whose forward is the same for all.
struct Feedback {
  RequestId request;
  SessionId session;
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t other_answers = 0;
  std::int32_t other_answer_tokens = 0;  // of each
  PromptContent content;                 // of the prompt and the served answer

  // Tokens with a loss: those of the answers.
  std::int64_t answer_tokens() const {
    return output_tokens + static_cast<std::int64_t>(other_answers) * other_answer_tokens;
  }
  std::int64_t tokens() const { return static_cast<std::int64_t>(1 + other_answers) * prompt_tokens + answer_tokens(); }
};

}  // namespace alchemist
