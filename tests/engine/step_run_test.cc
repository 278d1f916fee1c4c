#include "sim/engine/step_run.h"

#include <gtest/gtest.h>

#include "tests/engine/support.h"
#include "tests/times.h"

namespace alchemist {
namespace {

using testing::make_request;

// The operation behind a request's last step was planned while nobody knew that it is the last, and preempts it. Before
// it begins, a training piece runs, during which another request arrives and gets the handle.
TEST(StepRun, WhoEndedIsNotPreemptedAndNeitherIsWhoHasTheHandleNext) {
  testing::TextObserver observer;
  RequestBook book(ReplicaId(0), observer);
  StepRun steps(ReplicaId(0), {.announce_last_step = true}, book, observer);
  PrefillWork prompt;
  prompt.request = book.accept(RequestId(0), make_request(at_ms(0), 10, 1, 1)).request;
  prompt.chunk = {10, 0};
  prompt.last = true;
  ServingOp first, second;
  first.prefills = {&prompt, 1};
  steps.queue(OpId(0), first, at_ms(0));
  ASSERT_TRUE(steps.begin(at_ms(0)));
  second.preempted = {&prompt.request, 1};
  steps.queue(OpId(1), second, at_ms(0));
  EXPECT_FALSE(steps.end_step(at_ms(1)));
  EXPECT_EQ(book.take_outcome(prompt.request, at_ms(1)).preemptions, 0);
  ASSERT_EQ(book.accept(RequestId(1), make_request(at_ms(2), 10, 1, 2)).request, prompt.request);
  EXPECT_FALSE(steps.begin(at_ms(3))) << "nothing is left to run";
  EXPECT_EQ(observer.preemptions, 0);
}

}  // namespace
}  // namespace alchemist
