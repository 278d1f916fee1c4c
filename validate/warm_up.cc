#include "validate/warm_up.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "validate/calibrate_steps.h"
#include "validate/calibrate_training.h"
#include "validate/decode_steps.h"

namespace alchemist {
namespace {

constexpr std::int64_t kMostTokens = 8192;

std::int32_t at_most(std::int64_t limit) { return static_cast<std::int32_t>(std::min(limit, kMostTokens)); }

StepCase step_of(std::int32_t chunk, std::int32_t decodes, std::int32_t context) {
  StepCase shape;
  if (chunk > 0) shape.chunks = {{chunk, 0}};
  shape.decodes = decodes;
  shape.decode_context = decodes > 0 ? context : 0;
  shape.head = true;
  return shape;
}

constexpr std::int64_t kMostRequests = 10'000;
constexpr std::size_t kMostRests = 4;  // each takes a GPU and an 8B model the better part of a second
// How often a step is run until it is replayed: as it is, captured, and replayed.
constexpr int kRunsToReplay = 3;
// That are run. What comes unexpectedly has room besides them: when there is none, all are forgotten.
constexpr std::size_t kMostDecodes = DecodeSteps::kMostShapes / 4 * 3;

void add_rests(std::set<std::int32_t>& rests, std::int64_t tile, std::int64_t sample, std::int64_t most) {
  for (std::int64_t tokens = sample; tokens <= most && rests.size() <= kMostRests; tokens += sample) {
    if (tokens % tile != 0) rests.insert(static_cast<std::int32_t>(tokens % tile));
  }
}

}  // namespace

ExpectedRequests expected_requests(WorkloadSource& source, std::int64_t tile, std::int64_t micro_batch_tokens) {
  ExpectedRequests expected;
  std::map<std::int32_t, std::int64_t> of_limit;  // requests
  std::set<std::int32_t> rests;
  for (auto arrival = source.peek(); arrival && expected.requests < kMostRequests; arrival = source.peek()) {
    const WorkloadRequest request = source.next();
    source.on_finished(request.session, request.turn, *arrival);
    ++expected.requests;
    const std::int32_t tokens = request.prompt_tokens + request.output_tokens;
    add_rests(rests, tile, tokens, micro_batch_tokens);
    if (request.output_tokens == 1) continue;  // prefill yields it
    const std::int32_t last = DecodeSteps::key_limit(tokens - 1);
    for (std::int32_t limit = DecodeSteps::key_limit(request.prompt_tokens + 1); limit <= last; limit *= 2) {
      ++of_limit[limit];
    }
  }
  std::vector<std::pair<std::int64_t, std::int32_t>> limits;
  for (const auto& [limit, requests] : of_limit) limits.emplace_back(requests, limit);
  std::sort(limits.rbegin(), limits.rend());
  for (const auto& [requests, limit] : limits) expected.key_limits.push_back(limit);
  if (rests.size() <= kMostRests) expected.rests.assign(rests.begin(), rests.end());
  return expected;
}

WarmUp warm_up_of(const DecoderOptions& options, std::int64_t tile, const std::vector<std::int32_t>& rests) {
  const DecoderLimits& limits = options.limits;
  WarmUp all;
  CalibrationConfig& sizes = all.sizes;
  sizes.step_tokens = at_most(limits.step_tokens);
  sizes.step_sequences = 4;
  sizes.longest_context = at_most(options.shape.max_position / 2);
  sizes.micro_batch_tokens = at_most(std::min(limits.micro_batch_tokens, options.shape.max_position));
  for (const std::int32_t tokens : {1, sizes.step_sequences, 16, 256, sizes.step_tokens}) {
    for (const std::int32_t decodes : {0, 1, sizes.step_sequences}) {
      const std::int32_t chunk = std::min(tokens, sizes.step_tokens) - decodes;
      if (chunk < 0 || decodes + (chunk > 0 ? 1 : 0) > limits.step_sequences) continue;
      all.steps.push_back(step_of(chunk, decodes, sizes.longest_context));
    }
  }
  if (options.train) all.micro_batch_tokens = sizes.micro_batch_tokens;
  if (tile == 1) return all;
  for (std::int32_t decodes = 1; decodes <= std::min(limits.step_sequences, limits.step_tokens); ++decodes) {
    all.steps.push_back(step_of(0, decodes, 1));
  }
  std::vector<std::int32_t> beyond = rests;
  beyond.push_back(0);
  for (std::int64_t tiles = 0; tiles <= all.micro_batch_tokens; tiles += tile) {
    for (const std::int32_t rest : beyond) {
      const std::int64_t tokens = tiles + rest;
      // A sample has a prompt and an answer.
      if (tokens >= 2 && tokens <= all.micro_batch_tokens)
        all.layer_tokens.push_back(static_cast<std::int32_t>(tokens));
    }
  }
  return all;
}

void warm_up(Decoder& model, std::int64_t tile, const std::vector<std::int32_t>& rests) {
  const WarmUp all = warm_up_of(model.options(), tile, rests);
  const StepBench steps(model, all.sizes);
  for (const StepCase& shape : all.steps) steps.runner(shape)();
  if (all.micro_batch_tokens > 0) run_micro_batch(model, all.micro_batch_tokens, steps.arena());
  for (const std::int32_t tokens : all.layer_tokens) {
    run_layer(model, tokens, all.sizes.longest_context, steps.arena());
  }
}

std::vector<StepCase> decodes_of(const DecoderOptions& options, const ExpectedRequests& expected) {
  const std::int64_t most = std::min({options.limits.step_sequences, options.limits.step_tokens, expected.requests});
  std::vector<StepCase> steps;
  for (const std::int32_t limit : expected.key_limits) {
    const std::int64_t context = std::min<std::int64_t>(limit, options.shape.max_position);
    for (std::int32_t decodes = 1; decodes <= most && steps.size() < kMostDecodes; ++decodes) {
      steps.push_back(step_of(0, decodes, static_cast<std::int32_t>(context)));
    }
  }
  return steps;
}

void warm_up_decodes(Decoder& model, PagedMemory arena, std::int32_t pages, const ExpectedRequests& expected) {
  if (!model.options().repeat_decodes) return;
  const StepBench steps(model, arena, pages);
  std::vector<StepCase> cases = decodes_of(model.options(), expected);
  const std::int64_t record = RecordLayout(model.options().shape).bytes_per_token(RecordKind::kMinimal);
  const std::int64_t room = pages * arena.page_bytes / (record * model.options().shape.layers);  // tokens
  for (std::size_t i = 0, plain = cases.size(); i < plain && cases.size() < kMostDecodes; ++i) {
    if (cases[i].decodes > room) continue;
    cases.push_back(cases[i]);
    cases.back().records = true;
  }
  for (const StepCase& shape : cases) {
    const std::function<void()> step = steps.runner(shape);
    for (int run = 0; run < kRunsToReplay; ++run) step();
  }
}

}  // namespace alchemist
