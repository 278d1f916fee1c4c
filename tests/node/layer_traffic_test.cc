#include "sim/node/layer_traffic.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/node/copy_host.h"
#include "tests/node/piece_times.h"

namespace alchemist {
namespace {

using testing::CopyHost;
using Copies = std::vector<std::string>;

const testing::TimeOfTokens kTimes;

// Records of layers 1 to 3 of 4 come back from the last one down, one at a time, and no more than two layers ahead of
// backward; layer 0 is recomputed and brings nothing.
TEST(LayerTraffic, RecordsComeBackLastFirstWithinTheWindow) {
  CopyHost host;
  LayerTraffic traffic(host, kTimes, 4);
  traffic.begin(Time(), 2, {Bytes(), Bytes(10), Bytes(10), Bytes(10)}, Bytes());
  EXPECT_EQ(host.copies, Copies({"in 3: 10"}));
  EXPECT_FALSE(traffic.is_here(3));
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_TRUE(traffic.is_here(3));
  EXPECT_EQ(host.copies, Copies({"in 3: 10", "in 2: 10"}));
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_EQ(host.copies.size(), 2u) << "two layers are ahead of backward";
  traffic.on_backward(Time(), 2);
  EXPECT_EQ(host.copies.back(), "in 1: 10");
  EXPECT_FALSE(traffic.is_here(1));
  EXPECT_FALSE(traffic.on_copy_done(Time(), OpId(77))) << "somebody else's copy";
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_TRUE(traffic.is_here(0)) << "nothing is brought for a recomputed layer";
  EXPECT_EQ(host.copies.size(), 3u);
}

// Fresh activations of the first two of 4 layers leave behind forward and come back when all of them have left; records
// of the same layer come with them.
TEST(LayerTraffic, FreshActivationsLeaveAndComeBack) {
  CopyHost host;
  LayerTraffic traffic(host, kTimes, 4);
  traffic.begin(Time(), 2, {Bytes(), Bytes(7), Bytes(), Bytes()}, Bytes(5));
  EXPECT_TRUE(traffic.is_here(2)) << "the last two layers stay";
  EXPECT_TRUE(host.copies.empty());
  traffic.on_forward(Time(), 0);
  traffic.on_forward(Time(), 1);
  EXPECT_EQ(host.copies, Copies({"out 0: 5", "out 1: 5"}));
  EXPECT_FALSE(traffic.has_room(2)) << "two layers are still leaving";
  EXPECT_TRUE(traffic.on_copy_done(Time(), OpId(0)));
  EXPECT_TRUE(traffic.has_room(2));
  EXPECT_FALSE(traffic.has_room(3)) << "it takes the place of layer 1, which is still leaving";
  traffic.on_forward(Time(), 2);
  traffic.on_forward(Time(), 3);
  traffic.on_backward(Time(), 2);
  EXPECT_EQ(host.copies.size(), 2u) << "layer 1 has not left, so it cannot come back";
  EXPECT_TRUE(traffic.on_copy_done(Time(), OpId(1)));
  EXPECT_EQ(host.copies.back(), "in 1: 12");
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  traffic.on_backward(Time(), 1);
  EXPECT_EQ(host.copies.back(), "in 0: 5");
}

// Layer 0 of 4 is recomputed. The keys of two of the others are here at once, one copy after the other, beside the
// record of the last layer, which nobody waits for yet.
TEST(LayerTraffic, KeysComeAheadOfForward) {
  CopyHost host;
  LayerTraffic traffic(host, kTimes, 4);
  traffic.begin(Time(), 1, {Bytes(), Bytes(10), Bytes(10), Bytes(10)}, Bytes(), Bytes(3), 1, 2);
  EXPECT_EQ(host.copies, Copies({"keys 1: 3", "in 3: 10"}));
  EXPECT_TRUE(traffic.keys_are_here(0));
  EXPECT_FALSE(traffic.keys_are_here(1));
  traffic.on_forward(Time(), 0);
  EXPECT_TRUE(traffic.on_copy_done(Time(), OpId(0)));
  EXPECT_TRUE(traffic.keys_are_here(1));
  EXPECT_FALSE(traffic.keys_are_here(2));
  EXPECT_EQ(host.copies.back(), "keys 2: 3");
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_TRUE(traffic.on_copy_done(Time(), OpId(1)));
  EXPECT_TRUE(traffic.is_here(3));
  EXPECT_EQ(host.copies.size(), 3u) << "those of layer 3 take the place of those of layer 1";
  traffic.on_forward(Time(), 1);
  EXPECT_EQ(host.copies.back(), "keys 3: 3");
  EXPECT_FALSE(traffic.idle());
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_TRUE(traffic.keys_are_here(3));
  EXPECT_TRUE(traffic.idle());
}

// The micro-batch gives its memory back: what is under way ends, and nothing follows.
TEST(LayerTraffic, StoppedItBringsNoMoreKeys) {
  CopyHost host;
  LayerTraffic traffic(host, kTimes, 4);
  traffic.begin(Time(), 4, std::vector<Bytes>(4), Bytes(), Bytes(3), 0, 4);
  traffic.stop();
  EXPECT_FALSE(traffic.idle());
  EXPECT_TRUE(traffic.on_copy_done(Time(), host.last()));
  EXPECT_TRUE(traffic.idle());
  EXPECT_EQ(host.copies, Copies({"keys 0: 3"}));
}

// A nanosecond for each byte: fresh activations of 5 bytes leave in 10 ns, and come back, with a record of 7, in 12.
TEST(LayerTraffic, KnowsHowSlowlyItsCopiesCome) {
  CopyHost host;
  LayerTraffic traffic(host, kTimes, 2);
  const auto at = [](std::int64_t ns) { return Time() + Duration::nanoseconds(ns); };
  traffic.begin(at(0), 1, {Bytes(7), Bytes()}, Bytes(5));
  traffic.on_forward(at(0), 0);
  EXPECT_TRUE(traffic.on_copy_done(at(10), host.last()));
  EXPECT_DOUBLE_EQ(traffic.pace(LinkDirection::kDeviceToHost).factor(), 2);
  traffic.on_forward(at(10), 1);
  traffic.on_backward(at(20), 0);
  EXPECT_TRUE(traffic.on_copy_done(at(35), host.last()));
  EXPECT_DOUBLE_EQ(traffic.pace(LinkDirection::kHostToDevice).factor(), 1.25);
}

}  // namespace
}  // namespace alchemist
