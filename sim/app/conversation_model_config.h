// The fitted numbers of a conversation model, as tools/fit_sharegpt writes them.
#pragma once

#include <memory>
#include <string>

#include "workloads/conversation_model.h"

namespace alchemist {

// Reads a YAML file with the keys limit, probabilities, first_prompt, new_user_tokens, answer (quantiles at the
// probabilities), more_turns_than (P(turns > 1), P(turns > 2), ...), user_share, answer_share, answer_memory, same_turn
// and traits (the six correlations). ConfigError for anything that does not fit.
std::shared_ptr<const ConversationModel> read_conversation_model(const std::string& path);

}  // namespace alchemist
