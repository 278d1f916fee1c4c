#include "sim/node/token_runs.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/work.h"

namespace alchemist {

void TokenRuns::add(std::int32_t first, std::int32_t tokens) {
  if (tokens == 0) return;
  check(tokens > 0 && first >= 0, "a run of tokens lies in its sequence");
  runs_.push_back({first, tokens_, keys_});
  tokens_ += tokens;
  keys_ += attended_keys({tokens, first});
}

void TokenRuns::clear() {
  runs_.clear();
  tokens_ = 0;
  keys_ = 0;
}

double TokenRuns::keys_before(std::int64_t token) const {
  check(token >= 0 && token <= tokens_, "a token of these");
  const auto next = std::upper_bound(runs_.begin(), runs_.end(), token,
                                     [](std::int64_t t, const Run& run) { return t < run.tokens_before; });
  if (next == runs_.begin()) return 0;
  const Run& run = *(next - 1);
  return run.keys_before + attended_keys({static_cast<std::int32_t>(token - run.tokens_before), run.first});
}

}  // namespace alchemist
