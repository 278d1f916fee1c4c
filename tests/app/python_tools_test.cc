#include "sim/app/python_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/error.h"

namespace alchemist {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(PythonTools, RunProgramTellsSuccess) {
  EXPECT_TRUE(run_program({"/bin/sh", "-c", "exit 0"}, Output::discarded));
  EXPECT_FALSE(run_program({"/bin/sh", "-c", "exit 3"}, Output::discarded));
  EXPECT_FALSE(run_program({"/bin/sh", "-c", "kill -9 $$"}, Output::discarded));
  EXPECT_FALSE(run_program({"/no/such/program"}, Output::discarded));
}

TEST(PythonTools, OutputIsShownOrDiscarded) {
  testing::internal::CaptureStdout();
  run_program({"/bin/sh", "-c", "echo shown"}, Output::shown);
  run_program({"/bin/sh", "-c", "echo discarded"}, Output::discarded);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "shown\n");
}

TEST(PythonTools, FindTool) {
  EXPECT_TRUE(std::filesystem::exists(find_tool("plot") / "__main__.py"));
  EXPECT_THAT([] { find_tool("no_such_tool"); }, ThrowsMessage<ConfigError>(HasSubstr("tools/no_such_tool")));
}

TEST(PythonTools, FindPythonNeedsEveryModule) {
  EXPECT_THAT(find_python("plot", "sys, json"), HasSubstr("python3"));
  EXPECT_THAT([] { find_python("plot", "sys, no_such_module"); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("plot: "), HasSubstr("no_such_module"))));
}

}  // namespace
}  // namespace alchemist
