// What a real run has told, held against what its kernels have done.
#pragma once

#include <map>
#include <vector>

#include "tests/validate/real_world.h"

namespace alchemist::testing {

// What the kernels know of a request.
struct KernelBook {
  std::vector<std::size_t> tokens;  // the calls that made its tokens
  std::int32_t prompt_tokens = 0;   // computed up to the first of them
  std::int32_t cached = 0;          // tokens of its prompt in front of the first that was computed
  std::int64_t recorded = 0;        // tokens
  std::size_t first_call = 0;       // that computed anything of it
};

// By the numbers of the requests. Of two that are at the same place of the same text the first is finished.
inline std::map<RequestId, KernelBook> kernel_books(const RealWorld& world) {
  struct Place {
    RequestId request;
    std::int32_t position;
  };
  std::map<std::uint64_t, std::vector<Place>> places;
  for (std::size_t i = 0; i < world.workload->out.size(); ++i) {
    const WorkloadRequest& request = world.workload->out[i];
    if (!world.books.arrived.contains(RequestId(static_cast<std::uint32_t>(i)))) continue;  // refused
    const std::int32_t tokens = request.prompt_tokens + request.output_tokens;
    const auto hashes = text_hashes(
        conversation_tokens(request.content, request.prompt_tokens, 0, tokens, world.model.options().shape.vocabulary));
    for (std::int32_t p = 0; p < tokens; ++p) {
      places[hashes[static_cast<std::size_t>(p)]].push_back({RequestId(static_cast<std::uint32_t>(i)), p});
    }
  }
  std::map<RequestId, KernelBook> books;
  const std::vector<ScriptedCall>& calls = world.model.calls();
  for (std::size_t call = 0; call < calls.size(); ++call) {
    for (const ScriptedCall::Sequence& sequence : calls[call].sequences) {
      // Of requests that share the text: the first that has not all its tokens yet.
      const std::vector<Place>& candidates = places[sequence.text];
      const auto place = std::ranges::find_if(candidates, [&](const Place& candidate) {
        const WorkloadRequest& request = world.workload->out[candidate.request.value()];
        return std::ssize(books[candidate.request].tokens) < request.output_tokens &&
               candidate.position < request.prompt_tokens + request.output_tokens - 1;
      });
      if (place == candidates.end()) {
        ADD_FAILURE() << "call " << call << " computes what nobody asked for, or behind keys of another text";
        continue;
      }
      EXPECT_EQ(place->position, sequence.context + sequence.tokens - 1);
      KernelBook& book = books[place->request];
      if (book.tokens.empty() && book.prompt_tokens == 0) {
        book.cached = sequence.context;
        book.first_call = call;
      }
      if (book.tokens.empty()) book.prompt_tokens += sequence.tokens;
      if (sequence.yields) book.tokens.push_back(call);
      book.recorded += sequence.recorded;
    }
  }
  return books;
}

// When a call ended, by the run's clock: not before the first, not behind the second.
struct Bounds {
  Time from, to;
};
inline Bounds end_of(const RealWorld& world, std::size_t call) {
  const std::vector<ScriptedCall>& calls = world.model.calls();
  const Time next = call + 1 < calls.size() ? calls[call + 1].begin : Time() + world.ended;
  return {calls[call].end - world.books.latest_start, next - world.begun};
}

#define EXPECT_WITHIN(time, bounds) \
  EXPECT_GE(time, (bounds).from);   \
  EXPECT_LE(time, (bounds).to)

// Times of requests against the calls that made their tokens.
inline void expect_times_of_requests(const RealWorld& world) {
  const auto kernels = kernel_books(world);
  std::int64_t gaps = 0, tokens = 0, preemptions = 0;
  Duration waits, told_waits;
  for (const auto& [id, outcome] : world.books.outcomes) {
    SCOPED_TRACE("request " + std::to_string(id.value()));
    const WorkloadRequest& request = world.workload->out.at(id.value());
    const KernelBook& kernel = kernels.at(id);
    ASSERT_EQ(std::ssize(kernel.tokens), request.output_tokens);
    EXPECT_EQ(outcome.arrived, request.arrival);
    EXPECT_EQ(outcome.session, request.session);
    EXPECT_EQ(outcome.turn, request.turn);
    EXPECT_EQ(outcome.prompt_tokens, request.prompt_tokens);
    EXPECT_EQ(outcome.output_tokens, request.output_tokens);
    EXPECT_EQ(outcome.prefix_hit_tokens, kernel.cached);
    if (outcome.preemptions == 0) { EXPECT_EQ(kernel.prompt_tokens, request.prompt_tokens - kernel.cached); }
    EXPECT_EQ(outcome.recorded_tokens, kernel.recorded);
    EXPECT_GE(world.books.arrived.at(id), request.arrival);
    EXPECT_GE(outcome.queued, world.books.arrived.at(id));
    EXPECT_GE(outcome.scheduled, outcome.queued);
    EXPECT_LE(outcome.scheduled, world.model.calls()[kernel.first_call].begin - world.begun);
    // It is planned while the step before is under way at the earliest.
    if (kernel.first_call >= 2 && world.books.pieces.empty()) {
      EXPECT_GE(outcome.scheduled, world.model.calls()[kernel.first_call - 2].end - world.books.latest_start);
    }
    EXPECT_WITHIN(outcome.first_token, end_of(world, kernel.tokens.front()));
    EXPECT_WITHIN(outcome.finished, end_of(world, kernel.tokens.back()));
    Duration least, most;
    for (std::size_t i = 1; i < kernel.tokens.size(); ++i) {
      const Bounds before = end_of(world, kernel.tokens[i - 1]), now = end_of(world, kernel.tokens[i]);
      least = std::max(least, now.from - before.to);
      most = std::max(most, now.to - before.from);
    }
    ASSERT_EQ(outcome.longest_gap.has_value(), request.output_tokens > 1);
    if (outcome.longest_gap) {
      EXPECT_GE(*outcome.longest_gap, least);
      EXPECT_LE(*outcome.longest_gap, most);
    }
    tokens += request.output_tokens - 1;
    preemptions += outcome.preemptions;
    waits += outcome.finished - outcome.first_token;
  }
  for (const RunBooks::Gap& gap : world.books.gaps) {
    gaps += gap.count;
    told_waits += gap.gap * gap.count;
  }
  EXPECT_EQ(preemptions, world.books.preemptions);
  EXPECT_EQ(gaps, tokens);
  EXPECT_EQ(told_waits, waits);
}

// Spans of serving and of training, and the prices' books, against the calls.
inline void expect_all_calls_are_told(const RealWorld& world) {
  const std::vector<ScriptedCall>& calls = world.model.calls();
  const std::vector<OperationPrices::Timed>& timed = world.prices.all();
  ASSERT_EQ(timed.size(), calls.size());
  std::size_t steps = 0, in_span = 0, span = 0, piece = 0;
  std::int64_t prefilled = 0;
  Duration busy, recording;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE("call " + std::to_string(i));
    const ScriptedCall& call = calls[i];
    EXPECT_GE(timed[i].run.took, call.end - call.begin);
    EXPECT_LE(timed[i].run.start, call.begin - world.begun);
    EXPECT_WITHIN(timed[i].run.start + timed[i].run.took, end_of(world, i));
    if (call.kind != ScriptedCall::Kind::kStep) {
      ASSERT_LT(piece, world.books.pieces.size());
      const TrainingSpan& told = world.books.pieces[piece++];
      EXPECT_EQ(told.start, timed[i].run.start);
      EXPECT_EQ(told.end - told.start, timed[i].run.took);
      EXPECT_EQ(told.phase, call.kind == ScriptedCall::Kind::kForward     ? TrainingPhase::kForward
                            : call.kind == ScriptedCall::Kind::kOptimizer ? TrainingPhase::kOptimizer
                                                                          : TrainingPhase::kBackward);
      continue;
    }
    EXPECT_EQ(timed[i].tokens, call.tokens);
    ASSERT_LT(span, world.books.spans.size());
    const ServingSpan& told = world.books.spans[span];
    for (const ScriptedCall::Sequence& sequence : call.sequences)
      prefilled += sequence.tokens > 1 ? sequence.tokens : 0;
    recording += world.cost.recording(call.recorded);
    if (in_span == 0) {
      EXPECT_LE(told.start, timed[i].run.start);
      EXPECT_GE(told.start, i == 0 ? Time() : timed[i - 1].run.start + timed[i - 1].run.took);
      EXPECT_EQ(told.prefill_tokens, prefilled);
      EXPECT_EQ(told.decodes, std::ranges::count_if(call.sequences, [](const auto& s) { return s.tokens == 1; }));
    }
    ++steps;
    if (++in_span < static_cast<std::size_t>(told.steps)) continue;
    EXPECT_EQ(told.end, timed[i].run.start + timed[i].run.took);
    EXPECT_EQ(told.recording, recording);
    busy += told.end - told.start;
    in_span = 0;
    prefilled = 0;
    recording = Duration();
    ++span;
  }
  EXPECT_EQ(span, world.books.spans.size());
  EXPECT_EQ(piece, world.books.pieces.size());
  EXPECT_EQ(world.totals.busy, busy);
  Time end;
  for (const ServingSpan& s : world.books.spans) end = std::max(end, s.end);
  for (const TrainingSpan& s : world.books.pieces) end = std::max(end, s.end);
  for (const TransferSpan& s : world.books.transfers) end = std::max(end, s.end);
  EXPECT_EQ(world.totals.end, end);
  // The run waits; it looks at the workload when something has happened.
  EXPECT_LE(world.workload->peeks, 5 * std::ssize(world.lines) + std::ssize(calls));
}

}  // namespace alchemist::testing
