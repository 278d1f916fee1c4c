#include "sim/app/config_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "sim/app/config_kinds.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

TEST(ConfigPaths, PathsAndNamesAreToldApart) {
  for (const char* path : {"a/b", "x.yaml", "x.yml", "config.json"}) EXPECT_TRUE(names_a_path(path)) << path;
  for (const char* name : {"llama-3.1-8b", "h200"}) EXPECT_FALSE(names_a_path(name)) << name;
}

TEST(ConfigPaths, EnvironmentNamesTheFolder) {
  const TemporaryFolder folder;
  folder.write("models/mine.yaml", "layers: 1\n");
  setenv("ALCHEMIST_CONFIGS", folder.path().c_str(), 1);
  EXPECT_THAT(list_configs("models"), testing::ElementsAre("mine"));
  EXPECT_EQ(resolve_config("models", "mine", "elsewhere"), folder.path() / "models/mine.yaml");
  setenv("ALCHEMIST_CONFIGS", "/no/such", 1);
  EXPECT_THAT(message_of([] { list_configs("models"); }), testing::StartsWith("ALCHEMIST_CONFIGS=/no/such: expected"));
  unsetenv("ALCHEMIST_CONFIGS");
  EXPECT_THAT(list_configs("models"), testing::Contains("llama-3.1-8b"));
}

TEST(ConfigPaths, MissingOnesAreNamed) {
  EXPECT_EQ(message_of([] { resolve_config("models", "no/such.yaml", "/tmp"); }), "/tmp/no/such.yaml: no such file");
  EXPECT_THAT(message_of([] { resolve_config("hardware", "h20", {}); }),
              testing::AllOf(testing::HasSubstr("did you mean \"h200\"?"), testing::HasSubstr("cpu-2core")));
}

TEST(ConfigKinds, SingularAndPluralAreUnderstood) {
  EXPECT_EQ(find_config_kind("model").folder, "models");
  EXPECT_EQ(find_config_kind("policies").name, "policy");
  EXPECT_THAT(message_of([] { find_config_kind("modle"); }), testing::HasSubstr("did you mean \"model\"?"));
}

}  // namespace
}  // namespace alchemist
