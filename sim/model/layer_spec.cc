#include "sim/model/layer_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/operator_work.h"

namespace alchemist {
namespace {

constexpr std::int64_t kStatisticBytes = 4;  // row statistics stay in f32 whatever the activations are in
constexpr std::int64_t kIndexBytes = 4;

class LayerBuilder {
 public:
  LayerBuilder(const ModelShape& shape, const TrainingShape& training, std::int64_t gpus)
      : shape_(gpu_shard(shape, gpus)),
        training_(training),
        gpus_(gpus),
        kv_copies_(std::max<std::int64_t>(1, gpus / shape.kv_heads)) {
    spec_.input = stream("x");
    spec_.input_gradient = training.input_gradient;
  }

  LayerSpec build() {
    norm("input_norm", "x", "rstd1", stream("n1"), "input_norm");
    project_qkv(split("n1"));
    attention();
    linear_and_sum(LinearModule::kO, "o_proj", "attention", "o");
    residual("attention_residual", "post_norm", "x", "o", "x_mid");
    norm("post_norm", "x_mid", "rstd2", stream("n2"), "post_norm");
    shape_.experts > 0 ? mixture_of_experts(split("n2")) : mlp(split("n2"));
    residual("mlp_residual", "mlp_residual", "x_mid", "down", spec_.output);
    return std::move(spec_);
  }

 private:
  bool full() const { return training_.method == TrainingMethod::full; }
  bool adapted(LinearModule module) const { return !full() && training_.lora_modules.contains(module); }

  TensorSpec vector(std::string name, std::int64_t width) const {
    return {std::move(name), {width}, shape_.dtype_bytes};
  }
  // As wide as the residual stream, and whole on every GPU.
  TensorSpec stream(std::string name) const {
    TensorSpec tensor = vector(std::move(name), shape_.hidden);
    tensor.copies = gpus_;
    return tensor;
  }
  TensorSpec per_head(std::string name, std::int64_t heads) const {
    return {std::move(name), {heads, shape_.head_dim}, shape_.dtype_bytes};
  }
  double weight_bytes(std::int64_t parameters) const { return static_cast<double>(parameters * shape_.dtype_bytes); }
  static Work with_weights(Work work, double bytes) {
    work.weight_bytes = bytes;
    return work;
  }

  // Of each row of `out`, its last dimension, with the same weights.
  void norm(const std::string& name, const std::string& in, const std::string& rstd, TensorSpec out,
            const std::string& kernel) {
    const std::int64_t width = out.shape.back(), elements = out.elements();
    const double bytes = weight_bytes(width);
    OperatorSpec statistics{name + ".rstd",
                            OperatorKind::kNormStatistics,
                            kernel,
                            {in},
                            {{rstd, {elements / width}, kStatisticBytes}},
                            norm_statistics_work(elements)};
    statistics.gradients = {{{in}, {in, rstd}, kernel + ".d", norm_statistics_gradient_work(elements)}};
    spec_.operators.push_back(std::move(statistics));

    OperatorSpec scale{name + ".scale",
                       OperatorKind::kNormScale,
                       kernel,
                       {in, rstd},
                       {std::move(out)},
                       with_weights(norm_scale_work(elements), bytes),
                       width,
                       full()};
    scale.gradients = {{{in, rstd}, {in, rstd}, kernel + ".d", with_weights(norm_scale_gradient_work(elements), bytes)},
                       {{}, {in, rstd}, kernel + ".d", with_weights(norm_weight_gradient_work(elements), bytes)}};
    spec_.operators.push_back(std::move(scale));
  }

  Work all_reduce_work() const { return {.reduced_bytes_per_token = weight_bytes(shape_.hidden)}; }

  // A tensor of the residual stream's width as operators that are split read it. The name to read it by.
  std::string split(const std::string& whole) {
    if (gpus_ == 1) return whole;
    const std::string name = whole + ".split";
    OperatorSpec op{name, OperatorKind::kSplit, name, {whole}, {stream(name)}};
    op.gradients = {{{whole}, {}, whole + ".all_reduce.d", all_reduce_work()}};
    op.view = true;
    spec_.operators.push_back(std::move(op));
    return name;
  }

  // A module whose inputs are split: every GPU makes a part of each output, and they are added up.
  void linear_and_sum(LinearModule module, const std::string& kernel, const std::string& in, const std::string& out) {
    linear(module, kernel, in, vector(part_of(out), shape_.hidden));
    sum_parts(out);
  }
  std::string part_of(const std::string& out) const { return gpus_ == 1 ? out : out + ".part"; }
  void sum_parts(const std::string& out) {
    if (gpus_ == 1) return;
    const std::string part = part_of(out), name = out + ".all_reduce";
    OperatorSpec op{name, OperatorKind::kAllReduce, name, {part}, {stream(out)}, all_reduce_work()};
    op.gradients = {{{part}, {}, name + ".view", {}, true}};
    spec_.operators.push_back(std::move(op));
  }

  // A product with `in_width * out_width` weights: y = x W. d x = d y W^T reads the weight alone; d W = x^T d y reads
  // x.
  OperatorSpec product(const std::string& name, OperatorKind kind, const std::string& kernel, const std::string& in,
                       std::int64_t in_width, TensorSpec out, bool trained) const {
    const std::int64_t parameters = in_width * out.elements();
    const Work work = with_weights(linear_work(in_width, out.elements()), weight_bytes(parameters));
    OperatorSpec op{name, kind, kernel, {in}, {std::move(out)}, work, parameters, trained};
    op.gradients = {{{in}, {}, kernel + ".dx", work}, {{}, {in}, kernel + ".dw", work}};
    return op;
  }

  // The same of each of a token's experts, whose outputs are the rows of `out`: every expert has weights of its own,
  // and which ones these are is read with them. All are read by many tokens, and a share by few (token_share).
  OperatorSpec expert_product(OperatorSpec op) const {
    const double weights = static_cast<double>(shape_.experts) / static_cast<double>(shape_.experts_per_token);
    const auto scale = [&](Work& work) { work.weight_bytes *= weights; };
    if (op.kind == OperatorKind::kLinear) op.kind = OperatorKind::kExpertLinear;
    op.parameters = op.parameters / shape_.experts_per_token * shape_.experts;
    op.token_share = shape_.expert_share();
    op.inputs.emplace_back("expert");
    scale(op.work);
    for (GradientSpec& gradient : op.gradients) {
      gradient.reads.emplace_back("expert");
      scale(gradient.work);
    }
    return op;
  }

  bool is_of_experts(LinearModule module) const {
    return shape_.experts > 0 &&
           (module == LinearModule::kGate || module == LinearModule::kUp || module == LinearModule::kDown);
  }

  void linear(LinearModule module, const std::string& kernel, const std::string& in, TensorSpec out,
              bool bias = false) {
    const std::string name(module_name(module));
    const std::int64_t in_width = module == LinearModule::kO      ? shape_.q_width()
                                  : module == LinearModule::kDown ? shape_.intermediate
                                                                  : shape_.hidden;
    TensorSpec base = out;
    if (adapted(module)) base.name += ".base";
    OperatorSpec op = product(name + "_proj", OperatorKind::kLinear, kernel, in, in_width, base, full());
    if (is_of_experts(module)) op = expert_product(std::move(op));
    op.gradient_gpus = module == LinearModule::kK || module == LinearModule::kV ? kv_copies_ : 1;
    const std::int64_t copies = op.gradient_gpus;
    if (bias) {
      const double width = static_cast<double>(out.elements());
      op.parameters += out.elements();
      op.work.vector_flops_per_token += width;
      op.work.weight_bytes += weight_bytes(out.elements());
      op.gradients.back().work.vector_flops_per_token += width;
      op.gradients.back().work.weight_bytes += weight_bytes(out.elements());
    }
    spec_.operators.push_back(std::move(op));
    if (!adapted(module)) return;
    const bool inputs_are_split = module == LinearModule::kO || module == LinearModule::kDown;
    adapter(module, in, in_width, base, std::move(out), inputs_are_split ? 1 : gpus_,
            inputs_are_split ? gpus_ : copies);
  }

  // Experts have adapters of their own. `down_gpus`, `up_gpus`: that hold the same A, the same B.
  void adapter(LinearModule module, const std::string& in, std::int64_t in_width, const TensorSpec& base,
               TensorSpec out, std::int64_t down_gpus, std::int64_t up_gpus) {
    const std::string a = fmt::format("a.{}", module_name(module));
    const std::string prefix = fmt::format("{}_proj.lora_", module_name(module));
    const bool of_experts = is_of_experts(module);
    const std::int64_t rank = training_.lora_rank;
    OperatorSpec down = product(prefix + "a", OperatorKind::kAdapterDown, prefix + "a", in, in_width,
                                of_experts ? by_expert(a, rank) : vector(a, rank), true);
    if (of_experts) down = expert_product(std::move(down));
    down.gradient_gpus = down_gpus;
    spec_.operators.push_back(std::move(down));
    OperatorSpec up = product(prefix + "b", OperatorKind::kAdapterUp, prefix + "b", a, rank, std::move(out), true);
    if (of_experts) up = expert_product(std::move(up));
    up.gradient_gpus = up_gpus;
    up.inputs.push_back(base.name);
    up.gradients.push_back({{base.name}, {}, prefix + "b.view", {}, true});
    spec_.operators.push_back(std::move(up));
  }

  void project_qkv(const std::string& in) {
    linear(LinearModule::kQ, "qkv_proj", in, per_head("q.linear", shape_.heads), shape_.qkv_bias);
    linear(LinearModule::kK, "qkv_proj", in, per_head("k.linear", shape_.kv_heads), shape_.qkv_bias);
    linear(LinearModule::kV, "qkv_proj", in, per_head("v", shape_.kv_heads), shape_.qkv_bias);
    rotary("q_rotary", head_norm("q", shape_.heads), per_head("q", shape_.heads));
    rotary("k_rotary", head_norm("k", shape_.kv_heads), per_head("k", shape_.kv_heads));
    // The cache holds keys after rotation; the copy itself is the only traffic that is no tensor of the graph.
    spec_.operators.push_back({"kv_write",
                               OperatorKind::kCacheWrite,
                               "kv_write",
                               {"k", "v"},
                               {},
                               {.bytes_per_token = static_cast<double>(2 * shape_.kv_width() * shape_.dtype_bytes)}});
  }

  // What is rotated: the linear projection, or its norm, which one kernel makes and rotates. The name to read it by.
  std::string head_norm(const std::string& name, std::int64_t heads) {
    const std::string linear = name + ".linear", normed = name + ".normed";
    if (!shape_.qk_norm) return linear;
    norm(name + "_norm", linear, "rstd." + name, per_head(normed, heads), "rotary");
    spec_.operators.back().gradient_gpus = gpus_;  // each has some of the heads, and all have the weights
    return normed;
  }

  void rotary(const std::string& name, const std::string& in, TensorSpec out) {
    const Work work = rotary_work(out.elements());
    OperatorSpec op{name, OperatorKind::kRotary, "rotary", {in}, {std::move(out)}, work};
    op.gradients = {{{in}, {}, "rotary.d", work}};
    spec_.operators.push_back(std::move(op));
  }

  void attention() {
    const auto with_context = [&](Work work) {
      work.bytes_per_context_token = static_cast<double>(2 * shape_.kv_width() * shape_.dtype_bytes);
      return work;
    };
    OperatorSpec op{"attention",
                    OperatorKind::kAttention,
                    "attention",
                    {"q", "k", "v"},
                    {per_head("attention", shape_.heads), {"lse", {shape_.heads}, kStatisticBytes}},
                    with_context(attention_work(shape_.heads, shape_.head_dim))};
    op.gradients = {{{"q", "k", "v"},
                     {"q", "k", "v", "attention", "lse"},
                     "attention.d",
                     with_context(attention_gradient_work(shape_.heads, shape_.head_dim))}};
    spec_.operators.push_back(std::move(op));
  }

  void residual(const std::string& name, const std::string& kernel, const std::string& before,
                const std::string& branch, const std::string& out) {
    OperatorSpec op{name,          OperatorKind::kResidual,     kernel, {before, branch},
                    {stream(out)}, residual_work(shape_.hidden)};
    op.gradients = {{{before, branch}, {}, name + ".view", {}, true}};
    spec_.operators.push_back(std::move(op));
  }

  void mlp(const std::string& in) {
    linear(LinearModule::kGate, "gate_up_proj", in, vector("gate", shape_.intermediate));
    linear(LinearModule::kUp, "gate_up_proj", in, vector("up", shape_.intermediate));
    gated_activation(vector("gated", shape_.intermediate));
    linear_and_sum(LinearModule::kDown, "down_proj", "gated", "down");
  }

  void gated_activation(TensorSpec out) {
    const std::int64_t width = out.elements();
    OperatorSpec op{"silu_mul",       OperatorKind::kGatedActivation, "silu_mul", {"gate", "up"},
                    {std::move(out)}, gated_activation_work(width)};
    op.gradients = {{{"gate", "up"}, {"gate", "up"}, "silu_mul.d", gated_activation_gradient_work(width)}};
    op.rebuild_kernel = "silu_mul.d";  // which has read gate and up, and only has to write it (gated_activation.h)
    spec_.operators.push_back(std::move(op));
  }

  TensorSpec by_expert(std::string name, std::int64_t width) const {
    return {std::move(name), {shape_.experts_per_token, width}, shape_.dtype_bytes};
  }

  // Split over GPUs as an MLP is, every expert of it; the router is whole on every GPU and makes a part of the
  // gradient.
  void mixture_of_experts(const std::string& in) {
    route(in);
    const std::string rows = "n2.experts";
    OperatorSpec dispatch{"dispatch", OperatorKind::kDispatch, "dispatch", {in}, {by_expert(rows, shape_.hidden)}};
    dispatch.gradients = {{{in}, {}, "dispatch.d", row_sum_work(shape_.hidden, shape_.experts_per_token)}};
    dispatch.view = true;  // the products read each row where it is
    spec_.operators.push_back(std::move(dispatch));
    linear(LinearModule::kGate, "gate_up_proj", rows, by_expert("gate", shape_.intermediate));
    linear(LinearModule::kUp, "gate_up_proj", rows, by_expert("up", shape_.intermediate));
    gated_activation(by_expert("activated", shape_.intermediate));
    scale_experts("activated", by_expert("gated", shape_.intermediate));
    linear(LinearModule::kDown, "down_proj", "gated", by_expert("down.experts", shape_.hidden));
    OperatorSpec sum{"expert_sum",
                     OperatorKind::kExpertSum,
                     "expert_sum",
                     {"down.experts"},
                     {vector(part_of("down"), shape_.hidden)},
                     row_sum_work(shape_.hidden, shape_.experts_per_token)};
    sum.gradients = {{{"down.experts"}, {}, "expert_sum.view", {}, true}};
    spec_.operators.push_back(std::move(sum));
    sum_parts("down");
  }

  void route(const std::string& in) {
    const std::int64_t chosen = shape_.experts_per_token;
    OperatorSpec router =
        product("router", OperatorKind::kLinear, "router", in, shape_.hidden, vector("router", shape_.experts), full());
    router.gradient_gpus = gpus_;
    spec_.operators.push_back(std::move(router));
    OperatorSpec op{"routing",
                    OperatorKind::kRouting,
                    "routing",
                    {"router"},
                    {{"routing", {chosen}, kStatisticBytes}, {"expert", {chosen}, kIndexBytes}},
                    routing_work(shape_.experts, chosen)};
    op.gradients = {{{"router"}, {"routing", "expert"}, "routing.d", routing_gradient_work(chosen)}};
    spec_.operators.push_back(std::move(op));
  }

  void scale_experts(const std::string& in, TensorSpec out) {
    const std::int64_t width = out.elements();
    OperatorSpec op{"expert_scale",  OperatorKind::kExpertScale, "silu_mul",
                    {in, "routing"}, {std::move(out)},           scale_work(width)};
    op.gradients = {{{in}, {"routing"}, "silu_mul.d", scale_work(width)},
                    {{"routing"}, {in}, "silu_mul.d", scale_weight_gradient_work(width)}};
    op.rebuild_kernel = "silu_mul.d";
    spec_.operators.push_back(std::move(op));
  }

  const ModelShape shape_;  // of one GPU
  const TrainingShape& training_;
  std::int64_t gpus_;
  std::int64_t kv_copies_;  // GPUs that hold the same key/value heads
  LayerSpec spec_;
};

}  // namespace

bool is_elementwise(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kNormScale:
    case OperatorKind::kRotary:
    case OperatorKind::kResidual:
    case OperatorKind::kGatedActivation:
    case OperatorKind::kSplit:
    case OperatorKind::kDispatch:
    case OperatorKind::kExpertScale:
    case OperatorKind::kExpertSum:
      return true;
    case OperatorKind::kLinear:
    case OperatorKind::kAdapterDown:
    case OperatorKind::kAdapterUp:
    case OperatorKind::kNormStatistics:
    case OperatorKind::kCacheWrite:
    case OperatorKind::kAttention:
    case OperatorKind::kAllReduce:
    case OperatorKind::kRouting:
    case OperatorKind::kExpertLinear:
      return false;
  }
  return false;
}

bool is_matrix_product(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kLinear:
    case OperatorKind::kAdapterDown:
    case OperatorKind::kAdapterUp:
    case OperatorKind::kAttention:
    case OperatorKind::kExpertLinear:
      return true;
    case OperatorKind::kNormStatistics:
    case OperatorKind::kNormScale:
    case OperatorKind::kRotary:
    case OperatorKind::kCacheWrite:
    case OperatorKind::kResidual:
    case OperatorKind::kGatedActivation:
    case OperatorKind::kRouting:
    case OperatorKind::kDispatch:
    case OperatorKind::kExpertScale:
    case OperatorKind::kExpertSum:
    case OperatorKind::kSplit:
    case OperatorKind::kAllReduce:
      return false;
  }
  return false;
}

bool is_of_adapter(OperatorKind kind) { return kind == OperatorKind::kAdapterDown || kind == OperatorKind::kAdapterUp; }

std::int64_t TensorSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

LayerSpec declare_layer(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel) {
  check(shape.hidden > 0 && shape.intermediate > 0 && shape.head_dim > 0, "a model's widths are positive");
  check(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "query heads are a multiple of key/value heads");
  check(shape.experts_per_token <= shape.experts && (shape.experts == 0) == (shape.experts_per_token == 0),
        "a token is sent to some of the experts");
  check(training.lora_rank >= 1, "an adapter's rank is at least 1");
  check(tensor_parallel >= 1 && !split_error(shape, tensor_parallel), "the model can be split over the GPUs");
  return LayerBuilder(shape, training, tensor_parallel).build();
}

}  // namespace alchemist
