// The operators of one decoder layer as they are declared, before anything is derived from them: what each reads and
// writes, what it costs, and, for each gradient its backward makes, which forward tensors that gradient reads.
// layer_graph.h derives the rest. The layer is Llama's (Touvron et al. 2023): x -> x + o(attention(norm(x))), then
// x -> x + down(silu(gate(norm(x))) * up(norm(x))). In a mixture of experts (Jiang et al., "Mixtral of Experts", 2024)
// the MLP's branch is the sum over a token's experts e, weighted by the softmax w of the router's largest logits:
// sum of down_e(w_e silu(gate_e(n)) * up_e(n)). The weights are applied in front of the down product, which is linear:
// their gradient then needs no output of any expert.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/work.h"
#include "sim/model/model_shape.h"
#include "sim/model/training_shape.h"

namespace alchemist {

enum class OperatorKind {
  kLinear,           // y = x W (+ b)
  kAdapterDown,      // a = x A, A: [in, rank]
  kAdapterUp,        // y = base + a B, B: [rank, out], scale folded into B
  kNormStatistics,   // rstd = 1 / sqrt(mean(x^2) + eps), a row sum
  kNormScale,        // n = x * rstd * w
  kRotary,           // rotation by position; its backward is the opposite rotation and reads nothing
  kCacheWrite,       // k, v -> paged cache
  kAttention,        // o = softmax(q k^T / sqrt(d)) v, and the log-sum-exp of each row
  kResidual,         // sum of two
  kGatedActivation,  // silu(gate) * up
  // Of a mixture of experts:
  kRouting,       // the experts that each token is sent to, and their weights
  kDispatch,      // a token's row as each of its experts reads it; backward adds up their gradients of it
  kExpertLinear,  // y = x W of each of a token's experts
  kExpertScale,   // each expert's row times its weight
  kExpertSum,     // the sum of a token's experts
  // Where a layer is split over several GPUs (tensor parallelism):
  kSplit,      // what every GPU has whole goes to operators that are split; backward adds up the GPUs' gradients of it
  kAllReduce,  // the sum of the GPUs' parts; backward passes the gradient on
};

// True for operators that work element by element: rebuilding their output costs about as little as reading it.
bool is_elementwise(OperatorKind kind);
// True for the products with weights and attention.
bool is_matrix_product(OperatorKind kind);
bool is_of_adapter(OperatorKind kind);

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;  // of one token
  std::int64_t element_bytes = 2;
  std::int64_t copies = 1;  // GPUs of a replica that each hold all of it

  std::int64_t elements() const;
  std::int64_t bytes_per_token() const { return elements() * element_bytes; }
};

// One part of an operator's backward. It always reads the gradients of the operator's outputs.
struct GradientSpec {
  std::vector<std::string> of;     // inputs whose gradient it makes; empty: the gradient of the parameters
  std::vector<std::string> reads;  // forward tensors
  std::string kernel;              // parts with equal kernel run as one
  Work work;                       // without the traffic of tensors, which is derived
  bool view = false;               // passes the output's gradient on unchanged: no work, no storage of its own
};

struct OperatorSpec {
  std::string name;
  OperatorKind kind = OperatorKind::kLinear;
  std::string kernel;  // operators with equal kernel run as one: what passes between them does not touch memory
  std::vector<std::string> inputs;
  std::vector<TensorSpec> outputs;
  Work work;  // without the traffic of tensors
  std::int64_t parameters = 0;
  bool trained = false;  // its parameters get a gradient
  std::vector<GradientSpec> gradients = {};
  double token_share = 1;          // of its parameters that one token needs: < 1 if they are experts'
  bool view = false;               // passes its only input on unchanged, as in GradientSpec
  std::string rebuild_kernel;      // that makes its outputs again beside a gradient; empty: its own, as in the forward
  std::int64_t gradient_gpus = 1;  // GPUs that hold the same parameters and each make a part of their gradient
};

struct LayerSpec {
  TensorSpec input;
  bool input_gradient = true;           // something below the layer is trained
  std::vector<OperatorSpec> operators;  // in the order of execution
  std::string output = "y";             // has the shape of the input, and is the next layer's input
};

// What one GPU of `tensor_parallel` has and does of the layer. As Megatron-LM splits it (Shoeybi et al. 2019, section
// 3): q, k, v, gate and up by their outputs, o and down by their inputs, so that a layer needs two all-reduces forward,
// of what o and down give, and two backward, of the gradients of what the norms give; all of them of one `hidden` a
// token. Norms and residual stream are whole on every GPU. Adapters are split as their matrices are: of the two, B
// where the outputs are split and A where the inputs are; the other is on every GPU, which makes a part of its
// gradient. Preconditions (checked): positive sizes, q_width and kv_width multiples of each other as grouped-query
// attention needs, experts_per_token at most experts, lora_rank >= 1, and no split_error().
LayerSpec declare_layer(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel = 1);

}  // namespace alchemist
