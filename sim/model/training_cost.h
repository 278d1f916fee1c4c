// How long the pieces of training take and how many bytes they work on, all derived from the layer graph. A replica may
// be several GPUs over which the layers are split (declare_layer() says how). They work in step and hold equally much:
// bytes and parameters are those of one of them, times are those of all.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/time.h"
#include "sim/base/training_piece.h"
#include "sim/model/hardware.h"
#include "sim/model/kernel_times.h"
#include "sim/model/layer_costs.h"
#include "sim/model/model_shape.h"
#include "sim/model/training_profile.h"
#include "sim/model/training_shape.h"

namespace alchemist {

// Bytes of one token in one layer, that one GPU keeps: of what is whole on every GPU all, or with
// TrainingShape::sequence_parallel its part.
struct RecordBytes {
  Bytes lean;
  Bytes minimal;
  Bytes gate_up;  // minimal - lean
  Bytes input;    // what gradient checkpointing keeps
  Bytes keys_and_values;
};

// Remembers what it was asked: for one thread at a time.
class TrainingCost {
 public:
  // `replicas` of `tensor_parallel` GPUs each. With a profile, of what one of these GPUs computes, times are those
  // measured, in place of the analytic ones; all that passes between GPUs stays analytic, and so does what comes over
  // links.
  TrainingCost(const HardwareSpec& hardware, const ModelShape& model, const TrainingShape& training,
               std::int32_t replicas, std::int32_t tensor_parallel = 1, std::optional<TrainingProfile> profile = {});

  // Serving is done elsewhere: each update's new weights cross the interconnect (bytes of the trained parameters at the
  // model's precision / bandwidth), and training waits for that.
  void send_weights() {
    sends_weights_ = true;
    latest_.reset();
  }

  // Each update keeps a copy of the weights that it replaces.
  void keep_weights() {
    keeps_weights_ = true;
    latest_.reset();
  }

  // By the roofline of each of its kernels (kernel_times.h), or as measured. Where rows change their adapters, kernels
  // of adapters are launched once more and read other weights, which is never measured.
  Duration piece(const TrainingPiece& piece) const;
  // What the user should know of how the pieces so far were priced.
  std::vector<std::string> warnings() const;
  // Bytes that the piece moves between memory and processors.
  double traffic(const TrainingPiece& piece) const;
  // Extra time of a serving step that keeps `bytes` of its activations: they are written once more, by the kernels that
  // make them or by one launch a layer for those that a product has made.
  Duration recording(Bytes bytes) const;

  // Share of a layer's forward that a lean record saves: all but the products that rebuild gate and up. For a prompt of
  // `tokens`.
  double lean_saving(std::int64_t tokens) const;

  const RecordBytes& record_bytes() const { return record_bytes_; }
  // With a gradient.
  std::int64_t trained_parameters() const { return trained_parameters_; }
  // Gradients (dtype), Adam's two moments and master weights (f32 each) of the trained parameters.
  Bytes state_bytes() const;
  // Trained parameters as kernels read them, at the model's precision.
  Bytes weight_bytes() const { return Bytes(trained_parameters_ * gradient_bytes_per_parameter_); }
  // Gradients and rebuilt or gathered tensors alive at once in one layer's backward, a token.
  Bytes working_bytes_per_token() const { return working_bytes_per_token_; }

 private:
  // Calls visit(kernels, tokens, attended keys) for everything that the piece, which is not the optimizer's, runs.
  template <class Visit>
  void for_each_part(const TrainingPiece& piece, Visit&& visit) const;
  double optimizer_bytes(std::int64_t parameters) const;
  double keeping_bytes(std::int64_t parameters) const;
  double seconds(const TrainingPiece& piece) const;
  double analytic_seconds(const TrainingPiece& piece) const;
  const KernelTimes& adapters_of(const TrainingPiece& piece) const {
    return piece.kind == PieceKind::kForward ? adapters_forward_ : adapters_backward_;
  }
  // Of the analytic ones: what passes between the GPUs of a replica, the sums of gradients excepted.
  double between_gpus_seconds(const TrainingPiece& piece) const;
  // Of the analytic ones too, of activations of which each GPU keeps a part: all of them for backward, and for the head
  // those whose last layer's output it computes from a record.
  double gather_seconds(const TrainingPiece& piece) const;
  // What one GPU computes.
  double measured_seconds(const TrainingPiece& piece) const;
  double optimizer_seconds(std::int64_t parameters) const;
  double gradient_sum_seconds(std::int64_t parameters) const;

  HardwareSpec hardware_;
  std::optional<TrainingProfile> profile_;
  std::int64_t layers_;
  std::int32_t replicas_;
  std::int32_t tensor_parallel_;
  KernelTimes forward_;             // of a layer
  KernelTimes backward_;            // from the minimal set
  KernelTimes adapters_forward_;    // of forward_, those of adapters
  KernelTimes adapters_backward_;   // of backward_
  KernelTimes reference_;           // forward without adapters
  KernelTimes rebuild_gate_up_;     // from the lean set
  KernelTimes output_from_record_;  // of the minimal set
  KernelTimes head_forward_;
  KernelTimes head_backward_;
  std::vector<GradientSum> gradient_sums_;  // of a layer
  RecordBytes record_bytes_;
  std::vector<double> gathered_bytes_;  // of a token, by tensor that is gathered in each layer
  std::int64_t trained_parameters_ = 0;
  std::int64_t gradient_bytes_per_parameter_ = 0;
  bool sends_weights_ = false;
  bool keeps_weights_ = false;
  Bytes working_bytes_per_token_;
  mutable std::int64_t most_tokens_ = 0;  // of a piece priced by the profile
  // A piece is priced when it may run and again when it does, and the next layer's is often its equal.
  struct Priced {
    TrainingPiece piece;
    Duration time;
  };
  mutable std::optional<Priced> latest_;
};

}  // namespace alchemist
