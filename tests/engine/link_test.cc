#include "sim/engine/link.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "sim/base/check.h"
#include "tests/times.h"

namespace alchemist {
namespace {

constexpr LinkDirection kIn = LinkDirection::kHostToDevice;
constexpr LinkDirection kOut = LinkDirection::kDeviceToHost;
constexpr HostMemory kPinned = HostMemory::kPinned;
constexpr HostMemory kPageable = HostMemory::kPageable;

// In bytes a nanosecond: 12 in, 6 out, 12 together, 2 pageable; 100 ns of latency; two thirds of that beside kernels.
LinkSpec small_link() {
  return {.h2d_bandwidth = 12e9,
          .d2h_bandwidth = 6e9,
          .duplex_bandwidth = 12e9,
          .pageable_bandwidth = 2e9,
          .latency = Duration::nanoseconds(100),
          .slowdown = 1.5};
}

// Event by event until nothing is in flight.
std::vector<FinishedTransfer> drain(Link& link) {
  std::vector<FinishedTransfer> finished;
  while (!link.idle()) link.advance(link.next_event(), finished);
  return finished;
}

// The end of each transfer in nanoseconds, by id.
std::vector<std::int64_t> ends(Link& link) {
  const std::vector<FinishedTransfer> finished = drain(link);
  std::vector<std::int64_t> by_id(finished.size());
  for (const FinishedTransfer& transfer : finished) by_id.at(transfer.id.value()) = transfer.end.count_ns();
  return by_id;
}

using Ends = std::vector<std::int64_t>;

// 1,200 bytes: 100 ns of latency, then 1,200 / 12 = 100 ns.
TEST(Link, OneTransferByHand) {
  Link link(small_link());
  EXPECT_EQ(link.next_event(), Time::max());
  EXPECT_FALSE(link.busy(kIn));
  const TransferId id = link.start(at_ns(1000), kIn, Bytes(1200), kPinned);
  EXPECT_TRUE(link.busy(kIn));
  EXPECT_FALSE(link.busy(kOut));
  EXPECT_EQ(link.in_flight_bytes(kIn), Bytes(1200));
  std::vector<FinishedTransfer> finished;
  EXPECT_EQ(link.next_event(), at_ns(1100));
  link.advance(at_ns(1100), finished);
  EXPECT_EQ(link.next_event(), at_ns(1200));
  link.advance(at_ns(1199), finished);
  EXPECT_TRUE(finished.empty());
  link.advance(at_ns(1200), finished);
  const std::vector<FinishedTransfer> expected = {{id, kIn, Bytes(1200), at_ns(1000), at_ns(1200)}};
  EXPECT_EQ(finished, expected);
  EXPECT_EQ(link.next_event(), Time::max());
  EXPECT_TRUE(link.idle());
  EXPECT_FALSE(link.busy(kIn));
  EXPECT_EQ(link.in_flight_bytes(kIn), Bytes());
  EXPECT_EQ(link.finished_bytes(kIn), Bytes(1200));
}

// latency + bytes / bandwidth, up to the next nanosecond. Out at 6: 6,000 bytes take 1,000 ns, one more byte a
// nanosecond more. At latency * bandwidth = 600 bytes half of the time is latency.
TEST(Link, LatencyMakesSmallTransfersInefficient) {
  const std::vector<std::pair<std::int64_t, std::int64_t>> cases = {{0, 100},   {1, 101},     {6, 101},    {7, 102},
                                                                    {600, 200}, {6000, 1100}, {6001, 1101}};
  for (const auto& [bytes, end] : cases) {
    Link link(small_link());
    link.start(at_ns(0), kOut, Bytes(bytes), kPinned);
    EXPECT_EQ(ends(link), Ends{end}) << bytes << " bytes";
  }
}

// Without latency a transfer moves from its start: 12 bytes in 1 ns, none at once.
TEST(Link, NoLatency) {
  LinkSpec spec = small_link();
  spec.latency = Duration();
  Link link(spec);
  link.start(at_ns(5), kIn, Bytes(12), kPinned);
  link.start(at_ns(5), kOut, Bytes(0), kPinned);
  EXPECT_EQ(link.next_event(), at_ns(5));
  EXPECT_EQ(ends(link), (Ends{6, 5}));
}

// A (2,400 bytes) starts at 0, B (1,200) at 50. A moves alone from 100 to 150: 600 bytes. Then each gets 6 a ns: B ends
// at 150 + 200 = 350. A has 1,800 - 1,200 = 600 left, now at 12 a ns: 400. First come first served would be A at 300
// and B at 400.
TEST(Link, TwoShareADirection) {
  Link link(small_link());
  link.start(at_ns(0), kIn, Bytes(2400), kPinned);
  link.start(at_ns(50), kIn, Bytes(1200), kPinned);
  EXPECT_EQ(ends(link), (Ends{400, 350}));
}

// Seven equal ones of 120 bytes share 12 a ns: 840 / 12 = 70 ns for all, in order of id, although 12/7 is no whole
// rate.
TEST(Link, EqualTransfersEndTogetherInOrderOfId) {
  Link link(small_link());
  for (int i = 0; i < 7; ++i) link.start(at_ns(0), kIn, Bytes(120), i % 2 == 0 ? kPageable : kPinned);
  const std::vector<FinishedTransfer> finished = drain(link);
  ASSERT_EQ(finished.size(), 7u);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(finished[i].id, TransferId(i));
    EXPECT_EQ(finished[i].end, at_ns(170));
  }
}

// In wants 12 and out 6, together they get 12: 8 and 4. Out's 600 bytes take 150 ns: 250. In has moved 1,200 of 2,400
// and the link to itself from then on: 100 ns more.
TEST(Link, DirectionsShareTheDuplexBandwidth) {
  Link link(small_link());
  link.start(at_ns(0), kIn, Bytes(2400), kPinned);
  link.start(at_ns(0), kOut, Bytes(600), kPinned);
  EXPECT_EQ(ends(link), (Ends{350, 250}));
}

// The split is by direction and not by transfer: two in at 4 each, one out at 4. The 400 bytes of each take 100 ns.
TEST(Link, DuplexSplitIgnoresTheNumberOfTransfers) {
  Link link(small_link());
  link.start(at_ns(0), kIn, Bytes(400), kPinned);
  link.start(at_ns(0), kIn, Bytes(400), kPinned);
  link.start(at_ns(0), kOut, Bytes(400), kPinned);
  EXPECT_EQ(ends(link), (Ends{200, 200, 200}));
}

// Together 7 a ns, in proportion 14/3 and 7/3. The pageable one in moves at 2, so out gets the other 5. In: 400 / 2 =
// 200 ns, 300. Out: 1,000 bytes by then, 200 left at 6 a ns: 33.3 ns, 334. The other way round (in pinned, out
// pageable) in gets 5 of its 14/3: 1,000 bytes by 300, 200 left at 12: 16.7 ns, 317.
TEST(Link, DirectionGetsWhatTheOtherCannotUse) {
  LinkSpec spec = small_link();
  spec.duplex_bandwidth = 7e9;
  Link link(spec);
  link.start(at_ns(0), kIn, Bytes(400), kPageable);
  link.start(at_ns(0), kOut, Bytes(1200), kPinned);
  EXPECT_EQ(ends(link), (Ends{300, 334}));
  Link other(spec);
  other.start(at_ns(0), kIn, Bytes(1200), kPinned);
  other.start(at_ns(0), kOut, Bytes(400), kPageable);
  EXPECT_EQ(ends(other), (Ends{317, 300}));
}

// A sum of the directions below the duplex bandwidth changes nothing: 1,200 / 12 and 600 / 6.
TEST(Link, WideDuplexDoesNotLimit) {
  LinkSpec spec = small_link();
  spec.duplex_bandwidth = 18e9;
  Link link(spec);
  link.start(at_ns(0), kIn, Bytes(1200), kPinned);
  link.start(at_ns(0), kOut, Bytes(600), kPinned);
  EXPECT_EQ(ends(link), (Ends{200, 200}));
}

// Alone, a pageable transfer moves at 2: 400 bytes in 200 ns. Beside two pinned ones it still gets its 2 (an even share
// would be 4), they 5 each: 1,000 bytes in 200 ns. A pageable limit above the bandwidth is none: 1,200 / 12.
TEST(Link, PageableIsSlower) {
  Link alone(small_link());
  alone.start(at_ns(0), kIn, Bytes(400), kPageable);
  EXPECT_EQ(ends(alone), Ends{300});

  Link shared(small_link());
  shared.start(at_ns(0), kIn, Bytes(400), kPageable);
  shared.start(at_ns(0), kIn, Bytes(1000), kPinned);
  shared.start(at_ns(0), kIn, Bytes(1000), kPinned);
  EXPECT_EQ(ends(shared), (Ends{300, 300, 300}));

  LinkSpec spec = small_link();
  spec.pageable_bandwidth = 100e9;
  Link fast(spec);
  fast.start(at_ns(0), kIn, Bytes(1200), kPageable);
  EXPECT_EQ(ends(fast), Ends{200});
}

// Moves from 100. Kernels run from 140 to 170: 40 ns at 12 and 30 ns at 8 are 720 bytes, the other 480 take 40 ns.
// Kernels during the latency, or told twice, change nothing.
TEST(Link, KernelsSlowCopiesWhileTheyRun) {
  Link link(small_link());
  std::vector<FinishedTransfer> finished;
  link.start(at_ns(0), kIn, Bytes(1200), kPinned);
  link.set_kernels_running(at_ns(10), true);
  link.set_kernels_running(at_ns(90), false);
  link.advance(at_ns(140), finished);
  link.set_kernels_running(at_ns(140), true);
  EXPECT_EQ(link.next_event(), at_ns(230));  // 720 left at 8
  link.set_kernels_running(at_ns(150), true);
  link.set_kernels_running(at_ns(170), false);
  EXPECT_TRUE(finished.empty());
  EXPECT_EQ(ends(link), Ends{210});
}

// Beside kernels: duplex 8, split 16/3 and 8/3. Out's 600 bytes take 225 ns; in has moved 1,200 and moves the other
// 1,200 at 8: 150 ns. A pageable one at 4/3: 400 bytes in 300 ns.
TEST(Link, KernelsSlowEveryRate) {
  Link link(small_link());
  link.set_kernels_running(at_ns(0), true);
  link.start(at_ns(0), kIn, Bytes(2400), kPinned);
  link.start(at_ns(0), kOut, Bytes(600), kPinned);
  EXPECT_EQ(ends(link), (Ends{475, 325}));
  Link pageable(small_link());
  pageable.set_kernels_running(at_ns(0), true);
  pageable.start(at_ns(0), kIn, Bytes(400), kPageable);
  EXPECT_EQ(ends(pageable), Ends{400});
}

// What happens at the very time at which a transfer ends cannot delay it: 1,201 bytes need 100.1 ns, and end at 201.
TEST(Link, ChangesAtTheTimeOfAnEndComeTooLateForIt) {
  Link link(small_link());
  std::vector<FinishedTransfer> finished;
  link.start(at_ns(0), kIn, Bytes(1201), kPinned);
  link.advance(at_ns(200), finished);
  link.start(at_ns(201), kIn, Bytes(12), kPinned);
  link.set_kernels_running(at_ns(201), true);
  EXPECT_EQ(link.next_event(), at_ns(201));
  EXPECT_EQ(ends(link), (Ends{201, 303}));  // 201 + 100, then 12 / 8 = 1.5 ns
}

// One advance over several events tells them in order of their end: id 1 (600 bytes of 6 a ns) before id 0.
TEST(Link, AdvanceOverSeveralEvents) {
  Link link(small_link());
  link.start(at_ns(0), kIn, Bytes(1800), kPinned);
  link.start(at_ns(0), kIn, Bytes(600), kPinned);
  std::vector<FinishedTransfer> finished;
  link.advance(at_ns(1'000'000), finished);
  const std::vector<FinishedTransfer> expected = {{TransferId(1), kIn, Bytes(600), at_ns(0), at_ns(200)},
                                                  {TransferId(0), kIn, Bytes(1800), at_ns(0), at_ns(300)}};
  EXPECT_EQ(finished, expected);
}

// Beside kernels 8 in, 4 out and 8 together: 2,400 bytes in take 100 ns of latency and 300 ns. At 250 ns 1,200 of them
// have moved; 1,200 bytes out make it 2,400 bytes at 8 together, 300 ns from then on. Latency hides behind what moves.
TEST(Link, SaysHowLongTransfersTake) {
  Link link(small_link());
  link.set_kernels_running(at_ns(0), true);
  EXPECT_EQ(link.time_left(at_ns(0)), Duration());
  link.start(at_ns(0), kIn, Bytes(2400), kPinned);
  EXPECT_EQ(link.time_left(at_ns(0)), Duration::nanoseconds(400));
  EXPECT_EQ(link.time_left(at_ns(60)), Duration::nanoseconds(340));
  std::vector<FinishedTransfer> finished;
  link.advance(at_ns(250), finished);
  EXPECT_EQ(link.time_left(at_ns(250)), Duration::nanoseconds(150));
  link.start(at_ns(250), kOut, Bytes(1200), kPinned);
  EXPECT_EQ(link.time_left(at_ns(250)), Duration::nanoseconds(300)) << "the longest of in, out and both together";
  drain(link);
  EXPECT_EQ(link.time_left(at_ns(10'000)), Duration());
}

// 20 GB at 55 GB/s (beyond 64 bits of 10^-9 bytes): 10,000 + 20/55 * 10^9 = 363,646,363.6 ns.
TEST(Link, LargeTransfer) {
  Link link({.h2d_bandwidth = 55e9,
             .d2h_bandwidth = 55e9,
             .duplex_bandwidth = 78e9,
             .pageable_bandwidth = 6e9,
             .latency = Duration::microseconds(10),
             .slowdown = 1});
  link.start(at_ns(0), kIn, Bytes(20'000'000'000), kPinned);
  EXPECT_EQ(ends(link), Ends{363'646'364});
}

// Far outside of what links are: 0.5 byte/s counts as 1, so 3 bytes take 3 s; 10^30 as 10^6 bytes a nanosecond.
TEST(Link, ExtremeBandwidths) {
  LinkSpec spec = small_link();
  spec.h2d_bandwidth = 0.5;
  spec.d2h_bandwidth = 1e30;
  Link link(spec);
  link.start(at_ns(0), kIn, Bytes(3), kPinned);
  EXPECT_EQ(ends(link), Ends{3'000'000'100});
  Link fast(spec);
  fast.start(at_ns(0), kOut, Bytes(5'000'000), kPinned);
  EXPECT_EQ(ends(fast), Ends{105});
}

TEST(Link, SpecOfHardware) {
  HardwareSpec hardware;
  hardware.link_h2d_bandwidth = 1e9;
  hardware.link_d2h_bandwidth = 2e9;
  hardware.link_duplex_bandwidth = 3e9;
  hardware.link_pageable_bandwidth = 4e9;
  hardware.link_latency = Duration::microseconds(5);
  hardware.copy_slowdown = 1.25;
  hardware.link_slowdown = 1.5;
  const LinkSpec spec = LinkSpec::from(hardware);
  EXPECT_EQ(spec.h2d_bandwidth, 1e9);
  EXPECT_EQ(spec.d2h_bandwidth, 2e9);
  EXPECT_EQ(spec.duplex_bandwidth, 3e9);
  EXPECT_EQ(spec.pageable_bandwidth, 4e9);
  EXPECT_EQ(spec.latency, Duration::microseconds(5));
  EXPECT_EQ(spec.copy_slowdown, 1.25);
  EXPECT_EQ(spec.slowdown, 1.5);
}

TEST(Link, ChecksItsCallers) {
  std::vector<FinishedTransfer> finished;
  Link link(small_link());
  link.start(at_ns(100), kIn, Bytes(1200), kPinned);
  EXPECT_THROW(link.start(at_ns(99), kIn, Bytes(1), kPinned), InternalError);    // time goes back
  EXPECT_THROW(link.advance(at_ns(99), finished), InternalError);                // the same
  EXPECT_THROW(link.start(at_ns(201), kIn, Bytes(1), kPinned), InternalError);   // past the event at 200
  EXPECT_THROW(link.set_kernels_running(at_ns(201), true), InternalError);       // the same
  EXPECT_THROW(link.start(at_ns(150), kIn, Bytes(-1), kPinned), InternalError);  // no such size
  EXPECT_EQ(ends(link), Ends{300});                                              // unharmed by all that

  LinkSpec spec = small_link();
  spec.slowdown = 0.9;
  EXPECT_THROW(Link{spec}, InternalError);
  spec = small_link();
  spec.duplex_bandwidth = 0;
  EXPECT_THROW(Link{spec}, InternalError);
}

// 1,600 bytes in and 800 out, beside kernels: alone each would take 100 + 200 ns, at 8 and 4 bytes a nanosecond, but
// both together have 8.
TEST(Link, BothDirectionsTogetherMayTakeLongest) {
  Link link(small_link());
  link.set_kernels_running(at_ns(0), true);
  link.start(at_ns(0), kIn, Bytes(1600), kPinned);
  link.start(at_ns(0), kOut, Bytes(800), kPinned);
  EXPECT_EQ(link.time_left(at_ns(0)), Duration::nanoseconds(100 + 2400 / 8));
}

}  // namespace
}  // namespace alchemist
