// A host that only writes down what it is asked to copy.
#pragma once

#include <string>
#include <vector>

#include "sim/node/host.h"

namespace alchemist::testing {

// Writes every copy down: "in 3: 10" or "out 0: 5".
class CopyHost final : public Host {
 public:
  OpId submit(const ServingOp&) override { return OpId(); }
  OpId submit(const TrainingPiece&) override { return OpId(); }
  OpId submit(const CopyOp& copy) override {
    const bool in = copy.direction == LinkDirection::kHostToDevice;
    copies.push_back((in ? "in " : "out ") + std::to_string(copy.layer) + ": " + std::to_string(copy.bytes.count()));
    return OpId(static_cast<std::uint32_t>(copies.size() - 1));
  }
  void begin(const MicroBatchWork&) override {}
  void forget(RecordId) override {}
  void report(const TrainingStep&, std::span<const TrainedSample>) override {}
  void wake_at(Time) override {}
  OpId last() const { return OpId(static_cast<std::uint32_t>(copies.size() - 1)); }
  std::vector<std::string> copies;
};

}  // namespace alchemist::testing
