// Serving steps of given shapes on a real model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "validate/calibration.h"
#include "validate/device_array.h"
#include "validate/record_table.h"
#include "validate/sample_log.h"

namespace alchemist {

class StepBench {
 public:
  // With an arena of its own, which the model has in use from now on.
  StepBench(Decoder& model, const CalibrationConfig& config);
  // Over `pages` pages of the arena that the model has in use.
  StepBench(Decoder& model, PagedMemory arena, std::int32_t pages);

  // `after_round`: what else is measured in the same rounds, so that a machine whose speed changes is as fast for it.
  void measure(Calibration& result, SampleLog& log, const std::function<void()>& after_round);
  // Runs one step of this shape, to the end.
  std::function<void()> runner(const StepCase& shape) const;
  PagedMemory arena() const { return arena_; }
  std::int32_t pages() const { return pages_; }

 private:
  struct Sequence {
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> table;
    std::vector<RecordMemory> record;
    std::int32_t context = 0;
  };
  struct Batch {
    std::vector<Sequence> sequences;
    std::vector<std::int32_t> record_pages;
    bool head = false;
  };
  void add(Batch& batch, std::int32_t tokens, std::int32_t context, std::int32_t& next_page) const;
  std::shared_ptr<const Batch> batch_of(const StepCase& shape) const;
  std::vector<StepCase> base_cases() const;
  std::vector<StepCase> head_cases() const;
  std::vector<StepCase> decode_cases() const;
  std::vector<StepCase> mixed_cases() const;
  std::vector<StepCase> recorded_cases() const;
  std::vector<StepCase> held_out_cases() const;

  Decoder& model_;
  CalibrationConfig config_;
  std::int32_t pages_;
  std::optional<DeviceArray<std::byte>> own_;
  PagedMemory arena_;
};

}  // namespace alchemist
