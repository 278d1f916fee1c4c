#include "sim/sweep/yaml_difference.h"

#include <gtest/gtest.h>

namespace alchemist {
namespace {

TEST(YamlDifference, NamesEachKeyThatDiffers) {
  EXPECT_EQ(yaml_difference("a: 1\nb: {c: [1, 2], d: x}\n", "a: 1\nb: {c: [1, 3], e: y}\n"),
            "  b.c: [1, 2] there, [1, 3] here\n"
            "  b.d: x there, nothing here\n"
            "  b.e: nothing there, y here\n");
  EXPECT_EQ(yaml_difference("a: 1\n", "a: 1\n"), "");
}

TEST(YamlDifference, LongOnesAreCutShort) {
  std::string there, here;
  for (int i = 0; i < 12; ++i) {
    there += "k" + std::to_string(i) + ": 1\n";
    here += "k" + std::to_string(i) + ": 2\n";
  }
  const std::string text = yaml_difference(there, here);
  EXPECT_NE(text.find("  k9: 1 there, 2 here\n  … and 2 more\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace alchemist
