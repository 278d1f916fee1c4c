// Training pieces on a real model, over records in pages.
#pragma once

#include <memory>
#include <vector>

#include "validate/calibrate_steps.h"
#include "validate/calibration.h"
#include "validate/record_table.h"
#include "validate/sample_log.h"

namespace alchemist {

// Forward, head and backward by tokens and attended keys, what rebuilding gate and up adds, the optimizer step. Forward
// and backward are also measured at numbers of tokens in between, where libraries choose other kernels and tiles do not
// come out even, and at some that no table has.
class TrainingRounds {
 public:
  // `arena`: of the model; each round overwrites its first pages. All references outlive this.
  TrainingRounds(Decoder& model, const CalibrationConfig& config, PagedMemory arena, SampleLog& log);
  ~TrainingRounds();

  void run();  // a round of all pieces; the first one is not logged
  // As the log has them.
  std::vector<PieceCase> pieces(const std::vector<Timing>& timings) const;
  std::vector<HeldOutPiece> held_out(const std::vector<Timing>& timings) const;

 private:
  enum class Purpose;
  struct Case;
  void add(std::int32_t tokens, std::int32_t length, Purpose purpose);
  void warm_up();

  Decoder& model_;
  PagedMemory arena_;
  SampleLog& log_;
  std::vector<std::unique_ptr<Case>> cases_;
  // The order of the next round: up and down in turn, so that each runs behind one of about its size. Behind a much
  // larger one a small one's weights come from memory, which takes half as long again.
  std::vector<Case*> by_size_;
};

// Forward, head and backward of one sample, without an optimizer step; leaves no gradients.
void run_micro_batch(Decoder& model, std::int32_t tokens, PagedMemory arena);
// Forward of the first and the last layer and backward of the last, in samples of `length`; leaves no gradients.
void run_layer(Decoder& model, std::int32_t tokens, std::int32_t length, PagedMemory arena);

}  // namespace alchemist
