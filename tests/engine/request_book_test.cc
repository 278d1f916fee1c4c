// What the world writes down of a request while it is served.
#include "sim/engine/request_book.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/engine/support.h"
#include "tests/times.h"

namespace alchemist {
namespace {

// A request of 50 + 101 tokens whose single step follows single step, at the times that a test says.
struct Book {
  Book()
      : book(ReplicaId(0), observer),
        handle(book.accept(RequestId(3), testing::make_request(at_ms(0), 50, 101, 1)).request) {}
  // Its prompt, or what a preemption has left to compute again, up to `target` tokens, ends at that time.
  void prefill(std::int32_t target, Time end) {
    PrefillWork work;
    work.request = handle;
    work.chunk = {target, 0};
    work.last = true;
    step({&work, 1}, {}, end);
  }
  void step(std::span<const PrefillWork> prefills, std::span<const RequestHandle> preempted, Time end) {
    book.begin(prefills, preempted, now);
    book.end_step(end, prefills);
    now = end;
  }
  void decode(Time end) { step({}, {}, end); }
  // Memory for a record of so many tokens of the answer from this token of the request on, a byte each.
  void record(std::int32_t first_token, std::int32_t tokens) {
    AnswerPart part;
    part.request = handle;
    part.first_token = first_token;
    part.tokens = tokens;
    part.bytes = Bytes(tokens);
    ServingOp op;
    op.answers = {&part, 1};
    book.submitted(op, now);
  }

  testing::TextObserver observer;
  RequestBook book;
  RequestHandle handle;
  Time now;
};

// Gaps of 1, 7 and 1 ms, then it is preempted and computed again, which is a gap of 5 ms, then 2 ms: the longest was
// there before the preemption.
TEST(RequestBook, TheLongestGapMayBeBeforeAPreemption) {
  Book b;
  b.prefill(50, at_ms(10));
  for (const std::int64_t end : {11, 18, 19}) b.decode(at_ms(end));
  b.book.begin({}, {&b.handle, 1}, b.now);
  b.prefill(54, at_ms(24));
  b.decode(at_ms(26));
  const RequestOutcome outcome = b.book.take_outcome(b.handle, b.now);
  EXPECT_EQ(outcome.longest_gap, Duration::milliseconds(7));
  EXPECT_EQ(outcome.preemptions, 1);
}

// The first run of 64 tokens has given its memory to somebody else when 20 of them were decoded. The next one begins
// behind these, at the end of which the answer has 78 tokens of its own with a record; the last run is behind both, and
// only the first 3 of it are inputs of a step. Its bytes are held all the same.
TEST(RequestBook, RecordedTokensOfAnAnswerCountOnce) {
  Book b;
  b.prefill(50, at_ms(10));
  b.record(50, 64);
  b.record(70, 58);
  b.record(147, 10);
  const RequestOutcome outcome = b.book.take_outcome(b.handle, b.now);
  EXPECT_EQ(outcome.recorded_tokens, 64 + 14 + 3);
  EXPECT_EQ(outcome.recorded_bytes, Bytes(64 + 58 + 10));
}

}  // namespace
}  // namespace alchemist
