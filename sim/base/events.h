// What the world tells a node, each stamped with its time. A node is a function of these and nothing else. None of them
// carries an output length: how long an answer is belongs to the world until the completion that ends it.
#pragma once

#include <cstdint>
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
};

// An operation is done. `steps` counts the equal steps of a decode run; 1 for everything else.
struct Completion {
  OpId op;
  std::int64_t steps = 1;
  std::span<const RequestHandle> ended;  // requests whose last token this operation computed; their handles end here
};

}  // namespace alchemist
