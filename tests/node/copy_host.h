// A host that only writes down what it is asked to do, and holds the node to the order in which it may ask.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "sim/node/host.h"

namespace alchemist::testing {

// Writes every copy down: "in 3: 10", "keys 3: 2" or "out 0: 5".
class CopyHost final : public Host {
 public:
  OpId submit(const ServingOp&) override { return OpId(); }
  OpId submit(const TrainingPiece&) override { return OpId(); }
  OpId submit(const CopyOp& copy) override {
    const bool in = copy.direction == LinkDirection::kHostToDevice;
    copies.push_back((copy.keys ? "keys "
                      : in      ? "in "
                                : "out ") +
                     std::to_string(copy.layer) + ": " + std::to_string(copy.bytes.count()));
    return OpId(static_cast<std::uint32_t>(copies.size() - 1));
  }
  OpId all_reduce() override { return OpId(kAllReduces + static_cast<std::uint32_t>(all_reduces++)); }
  void begin(const MicroBatchWork& work) override {
    EXPECT_FALSE(std::exchange(in_micro_batch, true));
    step_targets.push_back(work.step_targets);
  }
  void end_micro_batch() override { EXPECT_TRUE(std::exchange(in_micro_batch, false)); }
  void forget(RecordId) override {}
  void report(const TrainingStep& step, std::span<const TrainedSample>) override { trained.push_back(step); }
  void wake_at(Time) override {}
  OpId last() const { return OpId(static_cast<std::uint32_t>(copies.size() - 1)); }
  OpId last_all_reduce() const { return OpId(kAllReduces + static_cast<std::uint32_t>(all_reduces - 1)); }
  std::vector<std::string> copies;
  int all_reduces = 0;
  bool in_micro_batch = false;
  std::vector<std::int64_t> step_targets;  // by micro-batch, as of its beginning
  std::vector<TrainingStep> trained;

 private:
  static constexpr std::uint32_t kAllReduces = 1'000'000;  // more than a test copies
};

}  // namespace alchemist::testing
