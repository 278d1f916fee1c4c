// The tokens of a workload's conversations. A workload says which positions are equal, not what stands there: the text
// is made from that identity, so that equal prefixes are equal tokens. Answers are part of the conversation: the
// sampler runs, but the next token is the one of the conversation, as its length is.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/workload.h"

namespace alchemist {

// Tokens begin .. end of a conversation whose prompt has `prompt_tokens`, each in 0 .. vocabulary - 1.
std::vector<std::int32_t> conversation_tokens(const PromptContent& content, std::int32_t prompt_tokens,
                                              std::int32_t begin, std::int32_t end, std::int64_t vocabulary);

}  // namespace alchemist
