#include "workloads/conversations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sim/base/check.h"
#include "workloads/trace.h"

namespace alchemist {
namespace {

class LengthSampler {
 public:
  virtual ~LengthSampler() = default;
  virtual void draw(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) = 0;
};

class IndependentSampler : public LengthSampler {
 public:
  IndependentSampler(const IndependentLengths& lengths, const TurnsSpec& turns)
      : prompt_(lengths.prompt), output_(lengths.output), turns_(turns) {}

  void draw(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) override {
    const std::int64_t count = draw_count(sessions);
    turns.clear();
    for (std::int64_t t = 0; t < count; ++t) {
      Turn turn;
      turn.new_tokens = prompt_.draw(lengths);
      turn.output_tokens = output_.draw(lengths);
      turns.push_back(turn);
    }
  }

 private:
  // Geometric on 1, 2, ...: P(more than k) = (1 - 1/mean)^k, by inversion.
  std::int64_t draw_count(RandomStream& sessions) const {
    if (turns_.mean <= 1) return 1;
    if (turns_.kind == TurnsSpec::Kind::fixed) return std::llround(turns_.mean);
    const double survive = 1 - 1 / turns_.mean;
    const double count = 1 + std::floor(std::log(1 - sessions.uniform()) / std::log(survive));
    return static_cast<std::int64_t>(std::min(count, 1e5));
  }
  TokenSampler prompt_;
  TokenSampler output_;
  TurnsSpec turns_;
};

class EmpiricalSampler : public LengthSampler {
 public:
  explicit EmpiricalSampler(const TraceSpec& spec) : conversations_(conversations_of(read_trace(spec))) {}

  void draw(RandomStream&, RandomStream& lengths, std::vector<Turn>& turns) override {
    turns = conversations_[static_cast<std::size_t>(
        lengths.uniform_int(0, static_cast<std::int64_t>(conversations_.size()) - 1))];
  }

 private:
  std::vector<std::vector<Turn>> conversations_;
};

class ModelSampler : public LengthSampler {
 public:
  explicit ModelSampler(std::shared_ptr<const ConversationModel> model) : model_(std::move(model)) {}
  void draw(RandomStream& sessions, RandomStream& lengths, std::vector<Turn>& turns) override {
    model_->draw(sessions, lengths, turns);
  }

 private:
  std::shared_ptr<const ConversationModel> model_;
};

std::unique_ptr<LengthSampler> make_lengths(const GeneratedWorkload& spec) {
  if (const auto* lengths = std::get_if<IndependentLengths>(&spec.lengths)) {
    return std::make_unique<IndependentSampler>(*lengths, spec.sessions ? spec.sessions->turns : TurnsSpec{});
  }
  if (const auto* file = std::get_if<EmpiricalLengths>(&spec.lengths)) {
    return std::make_unique<EmpiricalSampler>(file->trace);
  }
  return std::make_unique<ModelSampler>(std::get<ModelLengths>(spec.lengths).model);
}

class LimitedConversations : public ConversationSampler {
 public:
  LimitedConversations(const GeneratedWorkload& spec, std::uint64_t seed)
      : spec_(spec),
        lengths_(make_lengths(spec)),
        sessions_random_(seed, "workload.sessions"),
        lengths_random_(seed, "workload.lengths"),
        think_random_(seed, "workload.think") {}

  void draw(std::vector<Turn>& turns) override {
    lengths_->draw(sessions_random_, lengths_random_, turns);
    check(!turns.empty(), "a conversation has a turn");
    if (!spec_.sessions) turns.resize(1);
    limit(turns);
    if (!spec_.sessions) return;
    for (Turn& turn : turns) turn.think = alchemist::draw(spec_.sessions->think_time, think_random_);
  }

 private:
  // Cuts single draws down to the limits and ends the conversation before the first turn that exceeds them.
  void limit(std::vector<Turn>& turns) const {
    constexpr std::int64_t kNone = std::numeric_limits<std::int32_t>::max() / 2;
    const std::int64_t max_total = spec_.max_total_tokens.value_or(kNone);
    const std::int64_t max_prompt = std::min<std::int64_t>(spec_.max_prompt_tokens.value_or(kNone), max_total - 1);
    std::int64_t history = 0;
    for (std::size_t t = 0; t < turns.size(); ++t) {
      Turn& turn = turns[t];
      turn.output_tokens = static_cast<std::int32_t>(
          std::min<std::int64_t>(turn.output_tokens, spec_.max_output_tokens.value_or(kNone)));
      if (t == 0) {
        turn.new_tokens = static_cast<std::int32_t>(std::min<std::int64_t>(turn.new_tokens, max_prompt));
        turn.output_tokens =
            static_cast<std::int32_t>(std::min<std::int64_t>(turn.output_tokens, max_total - turn.new_tokens));
      }
      const std::int64_t prompt = history + turn.new_tokens;
      history = prompt + turn.output_tokens;
      if (prompt > max_prompt || history > max_total) return turns.resize(t);
    }
  }

  GeneratedWorkload spec_;
  std::unique_ptr<LengthSampler> lengths_;
  RandomStream sessions_random_;
  RandomStream lengths_random_;
  RandomStream think_random_;
};

}  // namespace

std::unique_ptr<ConversationSampler> make_conversations(const GeneratedWorkload& spec, std::uint64_t seed) {
  return std::make_unique<LimitedConversations>(spec, seed);
}

}  // namespace alchemist
