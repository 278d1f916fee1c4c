// What somebody who stopped a sweep is told.
#include "sim/sweep/live_view.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

// Of five runs one was there, one is done and one failed, which --resume tries again.
TEST(LiveView, OnlyWhatIsDoneIsKept) {
  LiveView view;
  view.add_runs(5);
  view.add_found(1);
  view.finished(true);
  view.finished(false);
  EXPECT_EQ(view.summary("stopped by SIGINT"),
            "stopped by SIGINT; 2 of 5 runs are done and kept, --resume goes on from there");
}

}  // namespace
}  // namespace alchemist
