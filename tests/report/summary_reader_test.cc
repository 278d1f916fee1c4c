#include <gtest/gtest.h>

#include <limits>

#include "sim/base/error.h"
#include "sim/report/json_text.h"
#include "sim/report/summary.h"

namespace alchemist {
namespace {

// Every control character, so that no name or message breaks the file that quotes it.
TEST(JsonText, EscapesWhatJsonDoesNotTake) {
  EXPECT_EQ(json_string("a\x01\n\x1f\"\\ b"), "\"a\\u0001\\u000a\\u001f\\\"\\\\ b\"");
  EXPECT_EQ(json_number(std::numeric_limits<double>::quiet_NaN()), "null");
}

TEST(ReadResults, GivesWhatWasWritten) {
  Summary summary;
  summary.completed = 12;
  summary.duration_s = 1.0 / 3;
  summary.saturated = true;
  summary.ttft_ms = LatencySummary{1.5, 2, 3, 4, 1e-7};
  const std::vector<std::string> keys = result_keys();
  const std::vector<SummaryValue> values = read_results(summary_json(summary));
  ASSERT_EQ(values.size(), keys.size());
  EXPECT_EQ(keys.front(), "completed");
  EXPECT_EQ(keys.back(), "bound_fraction");
  const auto value = [&](const std::string& key) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == key) return values[i];
    }
    return SummaryValue(std::string("no such key"));
  };
  EXPECT_EQ(value("completed"), SummaryValue(std::uint64_t{12}));
  EXPECT_EQ(value("duration_s"), SummaryValue(1.0 / 3));
  EXPECT_EQ(value("saturated"), SummaryValue(true));
  EXPECT_EQ(value("p99_ttft_ms"), SummaryValue(1e-7));
  EXPECT_EQ(value("p99_itl_ms"), SummaryValue());
  EXPECT_EQ(value("seed"), SummaryValue(std::string("no such key")));
}

TEST(ReadResults, RefusesWhatIsNoSummary) {
  EXPECT_THROW(read_results("{\"completed\": "), ConfigError);
  EXPECT_THROW(read_results("[]"), ConfigError);
}

}  // namespace
}  // namespace alchemist
