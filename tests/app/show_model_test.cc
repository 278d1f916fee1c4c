#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/app/cli.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int status;
  std::string out, err;
};

Outcome show_model(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"alchemist", "show", "model"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run_command_line(static_cast<int>(argv.size()), argv.data());
  std::fflush(stdout);
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

// 2 * (32 * 218,103,808 + 4096 * 128,256) = 15.01 GFLOP; 4 * 4096 * 32 = 0.5243 MFLOP for each token of context.
TEST(ShowModel, PrintsTotalsAndTheLayer) {
  const Outcome shown = show_model({"llama-3.1-8b", "--method", "full"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  for (const char* text : {"15.01 GFLOP", "0.5243 MFLOP", "94,344", "37,000", "full fine-tuning"}) {
    EXPECT_THAT(shown.out, HasSubstr(text));
  }
}

TEST(ShowModel, DrawsTheGraphAlone) {
  const Outcome shown = show_model({"llama-2-7b", "--dot", "--rank", "4", "--modules", "q,v"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, StartsWith("digraph"));
  EXPECT_THAT(shown.out, HasSubstr("a.q\\n8 B"));  // 4 elements in bf16
}

TEST(ShowModel, RefusesWhatMakesNoSense) {
  for (const auto& [arguments, expected] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"llama-2-7b", "--method", "qlora"}, "expected full or lora"},
           {{"llama-2-7b", "--rank", "0"}, "a whole number from 1 to 65536"},
           {{"llama-2-7b", "--modules", "q,w"}, "comma-separated list"},
           {{"llama-2-7b", "--method", "full", "--rank", "8"}, "only for --method lora"}}) {
    const Outcome shown = show_model(arguments);
    EXPECT_EQ(shown.status, 1);
    EXPECT_EQ(shown.out, "");
    EXPECT_THAT(shown.err, HasSubstr(expected));
  }
}

}  // namespace
}  // namespace alchemist
