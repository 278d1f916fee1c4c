// Where conversations come from: independent draws, a file, a fitted model. One object draws them one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/base/random.h"
#include "workloads/conversation_model.h"
#include "workloads/spec.h"

namespace alchemist {

class ConversationSampler {
 public:
  virtual ~ConversationSampler() = default;
  // Replaces `turns` by the next conversation, at least one turn, within the limits of the workload. The k-th call
  // gives the same conversation whatever happens in between, so the order in which turns finish does not change
  // lengths.
  virtual void draw(std::vector<Turn>& turns) = 0;
};

// Draws from the streams "workload.lengths", "workload.sessions" and "workload.think" of the seed.
std::unique_ptr<ConversationSampler> make_conversations(const GeneratedWorkload& spec, std::uint64_t seed);

}  // namespace alchemist
