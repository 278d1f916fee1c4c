#include "sim/report/memory_series.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/random.h"
#include "tests/report/fixtures.h"

namespace alchemist {
namespace {

TEST(MemorySeries, KeepsEveryChangeOfASmallRun) {
  MemorySeries series;
  series.add(at_ms(0), {.weights = Bytes(10)});
  series.add(at_ms(1), {.weights = Bytes(10)});  // no change, no row
  series.add(at_ms(2), {.weights = Bytes(10), .kv = Bytes(4)});
  ASSERT_EQ(series.rows().size(), 2u);
  EXPECT_EQ(series.rows()[1].time, at_ms(2));
  EXPECT_EQ(series.rows()[1].peak_total, Bytes(14));
}

// Changes of one moment are one row with the largest of each; its total is that of one state, not the sum of the peaks.
TEST(MemorySeries, MergesWhatHappensAtOnce) {
  MemorySeries series;
  series.add(at_ms(5), {.kv = Bytes(8), .activations = Bytes(1)});
  series.add(at_ms(5), {.kv = Bytes(2), .activations = Bytes(3)});
  ASSERT_EQ(series.rows().size(), 1u);
  EXPECT_EQ(series.rows()[0].peak.kv, Bytes(8));
  EXPECT_EQ(series.rows()[0].peak.activations, Bytes(3));
  EXPECT_EQ(series.rows()[0].peak_total, Bytes(9));
}

// A million changes with single spikes: few rows, in order, spread over the whole run, and each spike still in the row
// that covers its time.
TEST(MemorySeries, KeepsPeaksWithinTheLimitOfRows) {
  MemorySeries series;
  RandomStream stream(3, "memory");
  constexpr std::int64_t kChanges = 1'000'000;
  constexpr std::int64_t kSpikeEvery = 99'991;
  for (std::int64_t i = 0; i < kChanges; ++i) {
    const bool spike = i % kSpikeEvery == 7;
    series.add(at_ms(i), {.kv = Bytes(spike ? 10'000 + i : stream.uniform_int(0, 1000)), .host = Bytes(i)});
  }
  const std::vector<MemoryRow>& rows = series.rows();
  EXPECT_LE(rows.size(), MemorySeries::kMaxRows);
  EXPECT_GT(rows.size(), MemorySeries::kMaxRows / 4);
  EXPECT_TRUE(
      std::is_sorted(rows.begin(), rows.end(), [](const MemoryRow& a, const MemoryRow& b) { return a.time < b.time; }));
  for (std::int64_t i = 7; i < kChanges; i += kSpikeEvery) {
    const auto after =
        std::upper_bound(rows.begin(), rows.end(), at_ms(i), [](Time t, const MemoryRow& r) { return t < r.time; });
    EXPECT_EQ(std::prev(after)->peak.kv, Bytes(10'000 + i));
  }
  EXPECT_EQ(rows.back().peak.host, Bytes(kChanges - 1));
  EXPECT_EQ(std::ranges::count_if(rows, [](const MemoryRow& row) { return row.peak.kv >= Bytes(10'000); }), 11)
      << "and in no other row";
}

TEST(MemorySeries, RefusesTimeThatRunsBackwards) {
  MemorySeries series;
  series.add(at_ms(2), {.kv = Bytes(1)});
  EXPECT_THROW(series.add(at_ms(1), {.kv = Bytes(2)}), InternalError);
}

}  // namespace
}  // namespace alchemist
