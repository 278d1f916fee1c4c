// Memory by phase, with changes before, in and after the operations.
#include "sim/report/phase_peaks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/base/random.h"
#include "tests/times.h"

namespace alchemist {
namespace {

MemoryUse use(std::int64_t kv, std::int64_t activations, std::int64_t training) {
  MemoryUse use;
  use.weights = Bytes(100);
  use.kv = Bytes(kv);
  use.activations = Bytes(activations);
  use.training = Bytes(training);
  use.host = Bytes(activations * 2);
  return use;
}

const PhasePeak& of(const PhasePeaks& peaks, MemoryPhase phase) {
  return peaks.peaks()[static_cast<std::size_t>(phase)];
}

// The peak of 70 KV bytes is between two operations, and in neither.
TEST(PhasePeaks, CountWhatWasThereWhileTheOperationRan) {
  PhasePeaks peaks;
  const ReplicaId r(0);
  ServingSpan serving;
  serving.prefill_tokens = 5;
  peaks.on_memory(r, at_ms(0), use(0, 0, 0));
  peaks.on_memory(r, at_ms(10), use(50, 5, 0));
  serving.start = at_ms(10);
  peaks.on_memory(r, at_ms(15), use(40, 6, 0));
  serving.end = at_ms(20);
  peaks.on_serving_span(serving);
  peaks.on_memory(r, at_ms(20), use(70, 6, 1));
  peaks.on_memory(r, at_ms(30), use(20, 7, 30));
  peaks.on_training_span({r, TrainingPhase::kBackward, at_ms(30), at_ms(40)});
  peaks.on_memory(r, at_ms(40), use(20, 0, 2));
  serving.prefill_tokens = 0;
  serving.start = at_ms(45);
  serving.end = at_ms(50);
  peaks.on_serving_span(serving);

  const PhasePeak& prefill = of(peaks, MemoryPhase::kPrefill);
  EXPECT_EQ(prefill.operations, 1);
  EXPECT_EQ(prefill.peak, use(50, 6, 0));
  EXPECT_EQ(prefill.peak_total, Bytes(155));
  EXPECT_EQ(of(peaks, MemoryPhase::kBackward).peak, use(20, 7, 30));
  EXPECT_EQ(of(peaks, MemoryPhase::kBackward).peak_total, Bytes(157));
  EXPECT_EQ(of(peaks, MemoryPhase::kDecode).peak, use(20, 0, 2));
  EXPECT_EQ(of(peaks, MemoryPhase::kForward).operations, 0);
}

// Training beside serving: a piece from 0 to 40 is told behind the steps that end meanwhile.
TEST(PhasePeaks, SpansOverlap) {
  PhasePeaks peaks;
  const ReplicaId r(0);
  peaks.on_memory(r, at_ms(0), use(10, 0, 90));
  peaks.on_memory(r, at_ms(10), use(10, 0, 20));
  ServingSpan serving;
  serving.start = at_ms(20);
  serving.end = at_ms(30);
  peaks.on_serving_span(serving);
  peaks.on_training_span({r, TrainingPhase::kForward, at_ms(0), at_ms(40)});
  EXPECT_EQ(of(peaks, MemoryPhase::kDecode).peak.training, Bytes(20));
  EXPECT_EQ(of(peaks, MemoryPhase::kForward).peak.training, Bytes(90));
}

TEST(PhasePeaks, TakeTheLargestOfAllReplicas) {
  PhasePeaks peaks;
  peaks.on_memory(ReplicaId(0), at_ms(0), use(10, 90, 0));
  peaks.on_memory(ReplicaId(1), at_ms(0), use(60, 20, 0));
  for (const std::uint32_t replica : {0U, 1U}) {
    peaks.on_training_span({ReplicaId(replica), TrainingPhase::kOptimizer, at_ms(1), at_ms(2)});
  }
  const PhasePeak& optimizer = of(peaks, MemoryPhase::kOptimizer);
  EXPECT_EQ(optimizer.operations, 2);
  EXPECT_EQ(optimizer.peak.kv, Bytes(60));
  EXPECT_EQ(optimizer.peak.activations, Bytes(90));
  EXPECT_EQ(optimizer.peak_total, Bytes(200)) << "of one replica, not a sum of peaks";
}

// Against a look at every value.
TEST(SlidingPeak, AgreesWithAnObviousModel) {
  RandomStream random(5, "sliding peak");
  for (int round = 0; round < 50; ++round) {
    SlidingPeak peak;
    std::vector<std::pair<Time, Bytes>> values;
    Time now, start;
    for (int i = 0; i < 200; ++i) {
      now = now + Duration::milliseconds(random.uniform_int(0, 3));
      if (random.uniform_int(0, 2) > 0) {
        values.emplace_back(now, Bytes(random.uniform_int(0, 20)));
        peak.set(now, values.back().second);
        continue;
      }
      start = start + Duration::nanoseconds(random.uniform_int(0, (now - start).count_ns()));
      Bytes expected;
      for (std::size_t v = 0; v < values.size(); ++v) {
        const Time until = v + 1 < values.size() ? values[v + 1].first : Time::max();
        if (until > start) expected = std::max(expected, values[v].second);
      }
      ASSERT_EQ(peak.since(start), expected);
      if (random.uniform_int(0, 1) > 0) peak.forget_before(start);
    }
  }
}

}  // namespace
}  // namespace alchemist
