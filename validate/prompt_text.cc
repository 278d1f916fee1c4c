#include "validate/prompt_text.h"

#include <algorithm>

#include "sim/base/random.h"

namespace alchemist {

std::vector<std::int32_t> conversation_tokens(const PromptContent& content, std::int32_t prompt_tokens,
                                              std::int32_t begin, std::int32_t end, std::int64_t vocabulary) {
  const std::int64_t covered = std::min<std::int64_t>(
      prompt_tokens, static_cast<std::int64_t>(content.chain_ids.size()) * content.chain_block_tokens);
  std::vector<std::int32_t> tokens;
  tokens.reserve(static_cast<std::size_t>(end - begin));
  for (std::int32_t position = begin; position < end; ++position) {
    const std::uint64_t identity =
        position < covered ? content.chain_ids[static_cast<std::size_t>(position / content.chain_block_tokens)]
                           : content.content_id;
    tokens.push_back(static_cast<std::int32_t>(mix64(identity, static_cast<std::uint64_t>(position)) %
                                               static_cast<std::uint64_t>(vocabulary)));
  }
  return tokens;
}

}  // namespace alchemist
