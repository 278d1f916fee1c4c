// A decoder-only model of the Llama family, assembled from the kernels: serves over a paged KV cache, records the
// activations of prefill, and trains from recorded activations, layer by layer. The same code runs on every device; the
// element type of the device is hidden here.
//
// Memory. One arena of pages in device memory belongs to the caller. A page holds `block_size` tokens of keys and
// values of every layer (a KV block), or page_bytes() bytes of a record. Everything else (weights, workspaces, training
// state) is allocated when the model is made and, but for small tables, does not grow.
//
// A micro-batch is a list of samples, packed one behind the other: row r is one token. The activations of a layer are
// brought to the model in pieces, each of which says which rows it has, what of them is there, and where it lies. All
// verbs may return before the device has done the work, except where they return a value; device().synchronise() waits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "sim/base/ids.h"
#include "sim/model/model_shape.h"
#include "sim/model/training_shape.h"
#include "validate/record_layout.h"
#include "validate/rope.h"

namespace alchemist {

// One sequence of a serving step.
struct SequenceStep {
  std::span<const std::int32_t> tokens;       // to compute: a chunk of the prompt, or the token sampled last
  std::int32_t context = 0;                   // tokens in the cache before
  std::span<const std::int32_t> block_table;  // page of each block_size tokens, for context and tokens
  // If anything of these tokens is recorded: layer l of the first of them, as many as it has room for, into record[l].
  RecordKind record_kind = RecordKind::kMinimal;
  std::span<const RecordMemory> record;  // empty, or one a layer
  std::int32_t record_tokens = 0;        // for which record[l] is laid out; 0: for `tokens` alone
  std::int32_t record_first = 0;         // of those, which one the first of `tokens` is
  bool yields_token = true;              // false: a chunk that does not end the prompt
};

struct TrainingSample {
  std::span<const std::int32_t> tokens;  // prompt and answer, >= 2
  std::int32_t prompt_tokens = 0;        // >= 1; the answer's tokens are the targets
  double loss_weight = 1;                // of each target token (dpo: of the pair, the same for all) in the objective;
                                         // one over their number in the training step for the mean
  double reference_logprob = 0;          // dpo: of the answer under the frozen model; samples are (chosen, rejected)
};

struct RowRange {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

// Rows of a micro-batch that have the adapters of a copy (Decoder::copy_trained()) in place of those that the model
// reads: in what is run of them forward, in what is rebuilt of their records, and in backward. Their gradient is added
// to that of the others all the same.
struct RowsUnder {
  RowRange rows;
  const std::byte* trained = nullptr;  // outlives the micro-batch
};

// The activations of some rows of a micro-batch in one layer: those of the tokens first_token .. of a record of
// `record_tokens` tokens that is laid out as `layout`. What `kind` leaves out is not touched, so that it need not be
// there: the end of a minimal record, from the gate and up of some token on, serves as a lean piece and a minimal one
// behind it.
struct ActivationPiece {
  RowRange rows;
  RecordKind kind = RecordKind::kMinimal;  // what is read or written: at most what `layout` has
  RecordKind layout = RecordKind::kMinimal;
  std::int32_t record_tokens = 0;
  std::int32_t first_token = 0;
  RecordMemory memory;
};

// The forward of one layer for some rows. Rows enter layer 0 from the embedding and later layers from the layer below.
// A layer may be computed in parts, each a call, earlier rows first. Keys and values in front of a row in its sample
// come from this call, from calls for the same layer before it, or from `known`, of which they alone are read.
struct LayerForward {
  std::int32_t layer = 0;
  std::span<const RowRange> rows;          // ascending, not empty, disjoint; none crosses from one sample to the next
  std::span<const ActivationPiece> known;  // minimal or lean; with the first part of a layer
  std::span<const ActivationPiece> keep;   // where activations of `rows` are kept
};

// The backward of one layer for the rows `part`, which ends where the part before began; the first part ends at the
// last row. Activations of all rows must be given with the first part, and their memory and pages must stay as they are
// until the last: each part reads its own rows, the first part all keys and values. What a piece lacks is rebuilt by
// the part that needs it: gate and up of a lean record, everything of an input record.
struct LayerBackward {
  std::int32_t layer = 0;
  RowRange part;
  std::span<const ActivationPiece> activations;  // cover all rows, each once
};

// Output head and loss, forward and backward, for the rows `part` (dpo: all rows). The final hidden states of rows that
// have a target come from the forward of the last layer or, for rows that were not run, from `last_layer`, their
// activations in the last layer (minimal or lean). A row has a target if it stands in front of an answer's token: with
// the last token of the prompt among the fresh rows, a first answer needs nothing of the record here.
struct HeadCall {
  RowRange part;
  std::span<const ActivationPiece> last_layer;
};

struct HeadResult {
  double loss = 0;               // sum over the targets (dpo: the pairs) of loss_weight * loss
  std::vector<double> log_prob;  // of each sample's answer
};

struct DecoderLimits {
  std::int64_t step_tokens = 2048;    // of one serving step
  std::int64_t step_sequences = 256;  // of one serving step
  std::int64_t micro_batch_tokens = 2048;
  std::int32_t block_size = 16;
};

struct DecoderOptions {
  ModelShape shape;
  TrainingShape training;
  DecoderLimits limits;
  AdamWSettings optimizer;
  double lora_alpha = 32;  // the adapter's scale is lora_alpha / lora_rank
  double dpo_beta = 0.1;
  RopeSettings rope;
  double norm_epsilon = 1e-5;
  std::uint64_t seed = 0;
  bool repeat_decodes = false;  // steps of decodes alone are the device's RepeatedCalls: CUDA graphs on a GPU
  bool train = true;            // false: no training state or workspace is allocated
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  virtual const DecoderOptions& options() const = 0;
  virtual DeviceMemory& device() = 0;
  virtual std::int64_t page_bytes() const = 0;
  // The arena of pages, in device memory: page p begins at arena + p * page_bytes(). Outlives its use here.
  virtual void use_arena(std::byte* arena) = 0;

  // One serving step: prefill chunks and decodes mixed. next[i] is the most likely token after sequence i's last one;
  // it is left alone where the sequence yields none.
  virtual void step(std::span<const SequenceStep> batch, std::span<std::int32_t> next) = 0;

  // Training. A micro-batch is begun, run through, and ended by the next one's begin or by the optimizer step. One that
  // `resumes` is the one begun last, between two layers of its backward or before that: layers that had their backward
  // are left out, the others are run forward again, and backward goes on with the gradient that it had come to. `under`
  // ascends and is disjoint; LoRA alone.
  virtual void begin_micro_batch(std::span<const TrainingSample> samples, bool resumes = false,
                                 std::span<const RowsUnder> under = {}) = 0;
  virtual void forward_layer(const LayerForward& call) = 0;
  virtual HeadResult head(const HeadCall& call) = 0;
  virtual void backward_layer(const LayerBackward& call) = 0;
  // AdamW over all trained weights; gradients are zero afterwards, the version is one more.
  virtual void optimizer_step() = 0;
  virtual WeightVersion version() const = 0;

  // For tests, staleness and checkpoints: all trained weights, or their gradients, one behind the other in a fixed
  // order.
  virtual std::vector<double> trained_parameters() = 0;
  virtual void set_trained_parameters(std::span<const double> values) = 0;
  virtual std::vector<double> gradients() = 0;
  // A copy of the trained weights of now takes trained_bytes() of device memory. Training's forward and backward read
  // them from `copy` until they are told otherwise (null: from the model's own again, which alone the optimizer
  // trains). Not while the model serves.
  virtual std::int64_t trained_bytes() const = 0;
  virtual void copy_trained(std::byte* to) = 0;
  virtual void read_trained_from(const std::byte* copy) = 0;
  virtual void zero_gradients() = 0;
  // All weights by the name that HuggingFace gives them ("model.layers.0.self_attn.q_proj.weight"; adapters as PEFT
  // does), their shape, and their values row by row.
  struct NamedTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<double> values;
  };
  struct WeightName {
    std::string name;
    std::vector<std::int64_t> shape;
    bool adapter = false;
  };
  virtual std::vector<WeightName> weight_names() const = 0;
  virtual std::vector<NamedTensor> named_weights() = 0;
  virtual std::vector<NamedTensor> named_gradients() = 0;  // of the trained ones
  virtual void set_named_weight(const NamedTensor& tensor) = 0;
};

// The device outlives the model. Weights are random: normal with deviation 0.02, norms 1, an adapter's A uniform as in
// the LoRA paper's code and its B zero.
std::unique_ptr<Decoder> make_decoder(Device<float>& device, const DecoderOptions& options);
std::unique_ptr<Decoder> make_decoder(Device<double>& device, const DecoderOptions& options);
std::unique_ptr<Decoder> make_decoder(Device<BFloat16>& device, const DecoderOptions& options);

}  // namespace alchemist
