// The search for libraries that are there on some machines only.
#include "kernels/cuda/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sim/base/error.h"

namespace alchemist::cuda {
namespace {

namespace fs = std::filesystem;

const LibraryNames kNames{.title = "cuNothing",
                          .environment = "ALCHEMIST_TEST_LIBRARY",
                          .files = {"libcunothing.so.13"},
                          .wheels = {"nvidia/cu13/lib"}};

// The environment comes first, then the loader's own search, the toolkit, and the packages of a Python on the PATH.
TEST(LibraryTest, OrderOfTheSearch) {
  const fs::path prefix = fs::path(testing::TempDir()) / "library_test";
  const fs::path wheel = prefix / "lib/python3.12/site-packages/nvidia/cu13/lib";
  fs::create_directories(prefix / "bin");
  fs::create_directories(wheel);
  std::ofstream(prefix / "bin/python3") << "";
  std::ofstream(wheel / "libcunothing.so.13") << "";
  const std::string path = std::getenv("PATH");
  setenv("PATH", (prefix / "bin").c_str(), 1);
  setenv("ALCHEMIST_TEST_LIBRARY", "/somewhere/mine.so", 1);
  const std::vector<std::string> candidates = library_candidates(kNames);
  setenv("PATH", path.c_str(), 1);
  unsetenv("ALCHEMIST_TEST_LIBRARY");
  ASSERT_GE(candidates.size(), 4U);
  EXPECT_EQ(candidates[0], "/somewhere/mine.so");
  EXPECT_EQ(candidates[1], "libcunothing.so.13");
  EXPECT_EQ(candidates[2], "/usr/local/cuda/lib64/libcunothing.so.13");
  EXPECT_EQ(candidates[3], (wheel / "libcunothing.so.13").string());
  fs::remove_all(prefix);
}

TEST(LibraryTest, AbsentLibraryIsNamedWithWhatWasTried) {
  EXPECT_THAT([] { Library library(kNames); }, testing::ThrowsMessage<ConfigError>(testing::AllOf(
                                                   testing::StartsWith("cuNothing not found; tried libcunothing.so.13"),
                                                   testing::HasSubstr("ALCHEMIST_TEST_LIBRARY may hold the path"))));
}

}  // namespace
}  // namespace alchemist::cuda
