// Analytic step times: each operator takes the longer of its arithmetic and its memory traffic, at rates that a kernel
// of its size reaches, plus a fixed cost for each kernel. For hardware that nobody has measured; a profile is better.
#pragma once

#include <optional>
#include <vector>

#include "sim/model/hardware.h"
#include "sim/model/model_shape.h"
#include "sim/model/step_cost.h"
#include "sim/model/training_shape.h"

namespace alchemist {

// Time of one matrix product of (rows x inner) by (inner x columns) with `element_bytes` each.
// Arithmetic: 2 * rows * inner * columns at the matrix rate, derated by wave quantisation: output tiles of 128 x 128
// are handed to the processors in whole waves. A last wave that is not full costs as much as a full one.
// Memory: both inputs and the output once.
double matrix_product_seconds(const HardwareSpec& hardware, double rows, double inner, double columns,
                              double element_bytes);

class RooflineCost final : public StepCost {
 public:
  // Prices steps of up to `max_tokens` tokens, with the layers split over `tensor_parallel` GPUs. With `adapters`, the
  // products of its LoRA adapters run beside those of the weights, as training's forward runs them.
  RooflineCost(const HardwareSpec& hardware, const ModelShape& model, std::int32_t tensor_parallel,
               std::int32_t max_tokens, bool async_scheduling, const std::optional<TrainingShape>& adapters = {});

  Duration step(const BatchShape& shape) const override;
  Duration host_time() const override { return ahead_of_step(hardware_.step_overhead, async_scheduling_); }
  // All layers' attention.
  double attention_seconds(const BatchShape& shape) const;
  // Output head for the last position of `sequences` sequences.
  double head_seconds(double sequences) const;
  // One layer's two all-reduces, after attention and after the MLP; none on one GPU.
  double all_reduce_seconds(double tokens) const;

 private:
  double dense_seconds(double tokens) const;
  double gate_up_seconds(double tokens) const;
  double down_seconds(double tokens) const;
  // The products of one matrix of each of the tokens' experts. Roofline alone: rows are not padded to tiles, and the
  // weights are those of the experts that the tokens reach (expert_share.h).
  double expert_product_seconds(double tokens, double inner, double columns) const;

  HardwareSpec hardware_;
  ModelShape model_;  // one GPU's part of it
  std::int64_t tensor_parallel_;
  bool async_scheduling_;
  double q_width_;                       // attention's, of one GPU
  double kv_bytes_;                      // of one token in one layer, of one GPU
  double bandwidth_;                     // bytes/s that a kernel reaches
  double attention_flops_;               // FLOP/s that attention reaches
  std::vector<double> dense_by_tokens_;  // seconds of all layers' dense operators, index = tokens of the step
  std::vector<double> head_by_sequences_;
};

}  // namespace alchemist
