#include "validate/calibrate_training.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "validate/training_bench.h"

namespace alchemist {
namespace {

// Enough of them that one's weights have left the caches before it is run again.
constexpr std::int32_t kLayers = 4, kLayersInBetween = 2;

// The smallest are what parts of pieces leave over.
std::vector<std::int32_t> powers_of_two(std::int32_t most) {
  std::vector<std::int32_t> sizes;
  for (std::int32_t tokens = 4; tokens <= most; tokens *= 2) sizes.push_back(tokens);
  return sizes;
}

// Quarters of the way from one power of two to the next.
std::vector<std::int32_t> sizes_in_between(std::int32_t most) {
  std::vector<std::int32_t> sizes;
  for (std::int32_t power = 16; power < most; power *= 2) {
    for (std::int32_t tokens = power + power / 4; tokens < 2 * power && tokens <= most; tokens += power / 4) {
      sizes.push_back(tokens);
    }
  }
  return sizes;
}

// As odd as the parts of pieces come.
std::vector<std::int32_t> held_out_sizes(std::int32_t most) {
  std::vector<std::int32_t> sizes;
  for (const std::int32_t tokens : {23, 101, 333, 777, 1411, 2112, 3001, 6001}) {
    if (tokens <= most) sizes.push_back(tokens);
  }
  return sizes;
}

}  // namespace

enum class TrainingRounds::Purpose { kEveryKind, kManyKeys, kInBetween, kHeldOut };

struct TrainingRounds::Case {
  TrainingBench bench;
  Purpose purpose;
  std::map<std::string, std::size_t> logged = {};  // by kind
  std::map<std::string, double> first_us = {};     // of a held-out one, before any of its size had run

  void run(const TrainingBench::Runner& runner) {
    const bool every_kind = purpose == Purpose::kEveryKind || purpose == Purpose::kManyKeys;
    every_kind ? bench.run(runner) : bench.run_layers(runner);
  }
  // Runs it for the first time.
  void run_first() {
    run([this](const std::string& kind, const std::function<void()>& work) {
      first_us.emplace(kind, microseconds_of(work));
    });
  }
  void run_logged(SampleLog& log) {
    run([&](const std::string& kind, const std::function<void()>& work) {
      const auto known = logged.find(kind);
      log.time(known != logged.end() ? known->second : logged.emplace(kind, log.add_case()).first->second, work);
    });
  }
};

TrainingRounds::TrainingRounds(Decoder& model, const CalibrationConfig& config, PagedMemory arena, SampleLog& log)
    : model_(model), arena_(arena), log_(log) {
  const std::int32_t most = config.micro_batch_tokens, shortest = config.short_sample;
  for (const std::int32_t tokens : powers_of_two(most)) {
    add(tokens, shortest, Purpose::kEveryKind);
    const std::int32_t longest = std::min(tokens, config.longest_context);
    if (longest > 2 * shortest) add(tokens, longest, Purpose::kManyKeys);
  }
  for (const std::int32_t tokens : sizes_in_between(most)) add(tokens, shortest, Purpose::kInBetween);
  // Of lengths between those of the tables.
  for (const std::int32_t tokens : held_out_sizes(most)) {
    add(tokens, std::min(tokens, config.longest_context / 2), Purpose::kHeldOut);
  }
}

TrainingRounds::~TrainingRounds() = default;

void TrainingRounds::add(std::int32_t tokens, std::int32_t length, Purpose purpose) {
  const std::int32_t layers = purpose == Purpose::kInBetween ? kLayersInBetween : kLayers;
  cases_.push_back(std::make_unique<Case>(Case{TrainingBench(model_, arena_, tokens, length, layers), purpose}));
}

void TrainingRounds::run() {
  if (by_size_.empty()) {
    warm_up();
  } else {
    for (Case* c : by_size_) c->run_logged(log_);
    std::reverse(by_size_.begin(), by_size_.end());
  }
  model_.zero_gradients();
}

// The tables' sizes load and allocate what all share, so that a held-out size, which comes behind them, pays for what
// is its own when it runs for the first time.
void TrainingRounds::warm_up() {
  for (const auto& c : cases_) {
    c->run_first();
    by_size_.push_back(c.get());
  }
  const auto tokens = [](const Case* c) { return c->bench.tokens(); };
  std::stable_sort(by_size_.begin(), by_size_.end(), [&](Case* a, Case* b) { return tokens(a) < tokens(b); });
}

std::vector<PieceCase> TrainingRounds::pieces(const std::vector<Timing>& timings) const {
  std::vector<PieceCase> pieces, optimizer;
  for (const auto& c : cases_) {
    if (c->purpose == Purpose::kHeldOut) continue;
    const auto add = [&](const char* kind, const Timing& time, double keys) {
      pieces.push_back({kind, c->bench.tokens(), keys, time});
    };
    const auto timing = [&](const char* kind) { return timings[c->logged.at(kind)]; };
    const Timing backward = timing("backward");
    add("forward", timing("forward"), c->bench.keys());
    add("backward", backward, c->bench.keys());
    if (c->purpose != Purpose::kEveryKind) continue;
    const Timing lean = timing("lean");
    add("rebuild", {lean.p10 - backward.p10, lean.median - backward.median, lean.p90 - backward.p90}, 0);
    add("head", timing("head"), 0);
    optimizer = {{"optimizer", 1, 0, timing("optimizer")}};  // of the largest
  }
  pieces.insert(pieces.end(), optimizer.begin(), optimizer.end());
  return pieces;
}

std::vector<HeldOutPiece> TrainingRounds::held_out(const std::vector<Timing>& timings) const {
  std::vector<HeldOutPiece> result;
  for (const auto& c : cases_) {
    if (c->purpose != Purpose::kHeldOut) continue;
    for (const char* kind : {"forward", "backward"}) {
      result.push_back({{kind, c->bench.tokens(), c->bench.keys(), timings[c->logged.at(kind)]}, c->first_us.at(kind)});
    }
  }
  return result;
}

void run_micro_batch(Decoder& model, std::int32_t tokens, PagedMemory arena) {
  TrainingBench bench(model, arena, tokens, tokens);
  bench.begin();
  for (const std::function<void()>& piece : bench.pieces_in_order()) piece();
  model.zero_gradients();
}

void run_layer(Decoder& model, std::int32_t tokens, std::int32_t length, PagedMemory arena) {
  TrainingBench bench(model, arena, tokens, length, 1);
  bench.run_layers([](const std::string&, const std::function<void()>& work) { work(); });
  model.zero_gradients();
}

}  // namespace alchemist
