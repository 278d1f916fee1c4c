#include "sim/model/layer_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/operator_work.h"

namespace alchemist {
namespace {

constexpr std::int64_t kStatisticBytes = 4;  // row statistics stay in f32 whatever the activations are in

class LayerBuilder {
 public:
  LayerBuilder(const ModelShape& shape, const TrainingShape& training, std::int64_t gpus)
      : shape_(gpu_shard(shape, gpus)),
        training_(training),
        gpus_(gpus),
        kv_copies_(std::max<std::int64_t>(1, gpus / shape.kv_heads)) {
    spec_.input = vector("x", shape.hidden);
    spec_.input_gradient = training.input_gradient;
  }

  LayerSpec build() {
    norm("input_norm", "x", "rstd1", "n1");
    project_qkv(split("n1"));
    attention();
    linear_and_sum(LinearModule::kO, "o_proj", "attention", "o");
    residual("attention_residual", "post_norm", "x", "o", "x_mid");
    norm("post_norm", "x_mid", "rstd2", "n2");
    const std::string n2 = split("n2");
    linear(LinearModule::kGate, "gate_up_proj", n2, vector("gate", shape_.intermediate));
    linear(LinearModule::kUp, "gate_up_proj", n2, vector("up", shape_.intermediate));
    gated_activation();
    linear_and_sum(LinearModule::kDown, "down_proj", "gated", "down");
    residual("mlp_residual", "mlp_residual", "x_mid", "down", spec_.output);
    return std::move(spec_);
  }

 private:
  bool full() const { return training_.method == TrainingMethod::full; }
  bool adapted(LinearModule module) const { return !full() && training_.lora_modules.contains(module); }

  TensorSpec vector(std::string name, std::int64_t width) const {
    return {std::move(name), {width}, shape_.dtype_bytes};
  }
  TensorSpec per_head(std::string name, std::int64_t heads) const {
    return {std::move(name), {heads, shape_.head_dim}, shape_.dtype_bytes};
  }
  double weight_bytes(std::int64_t parameters) const { return static_cast<double>(parameters * shape_.dtype_bytes); }
  static Work with_weights(Work work, double bytes) {
    work.weight_bytes = bytes;
    return work;
  }

  void norm(const std::string& name, const std::string& in, const std::string& rstd, const std::string& out) {
    const std::int64_t h = shape_.hidden;
    const double bytes = weight_bytes(h);
    OperatorSpec statistics{name + ".rstd", OperatorKind::kNormStatistics,  name,
                            {in},           {{rstd, {1}, kStatisticBytes}}, norm_statistics_work(h)};
    statistics.gradients = {{{in}, {in, rstd}, name + ".d", norm_statistics_gradient_work(h)}};
    spec_.operators.push_back(std::move(statistics));

    OperatorSpec scale{name + ".scale",
                       OperatorKind::kNormScale,
                       name,
                       {in, rstd},
                       {vector(out, h)},
                       with_weights(norm_scale_work(h), bytes),
                       h,
                       full()};
    scale.gradients = {{{in, rstd}, {in, rstd}, name + ".d", with_weights(norm_scale_gradient_work(h), bytes)},
                       {{}, {in, rstd}, name + ".d", with_weights(norm_weight_gradient_work(h), bytes)}};
    spec_.operators.push_back(std::move(scale));
  }

  Work all_reduce_work() const { return {.reduced_bytes_per_token = weight_bytes(shape_.hidden)}; }

  // A tensor of the residual stream's width as operators that are split read it. The name to read it by.
  std::string split(const std::string& whole) {
    if (gpus_ == 1) return whole;
    const std::string name = whole + ".split";
    OperatorSpec op{name, OperatorKind::kSplit, name, {whole}, {vector(name, shape_.hidden)}};
    op.gradients = {{{whole}, {}, whole + ".all_reduce.d", all_reduce_work()}};
    op.view = true;
    spec_.operators.push_back(std::move(op));
    return name;
  }

  // A module whose inputs are split: every GPU makes a part of each output, and they are added up.
  void linear_and_sum(LinearModule module, const std::string& kernel, const std::string& in, const std::string& out) {
    if (gpus_ == 1) return linear(module, kernel, in, vector(out, shape_.hidden));
    const std::string part = out + ".part", name = out + ".all_reduce";
    linear(module, kernel, in, vector(part, shape_.hidden));
    OperatorSpec op{name, OperatorKind::kAllReduce, name, {part}, {vector(out, shape_.hidden)}, all_reduce_work()};
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

  void linear(LinearModule module, const std::string& kernel, const std::string& in, TensorSpec out,
              bool bias = false) {
    const std::string name(module_name(module));
    const std::int64_t in_width = module == LinearModule::kO      ? shape_.q_width()
                                  : module == LinearModule::kDown ? shape_.intermediate
                                                                  : shape_.hidden;
    TensorSpec base = out;
    if (adapted(module)) base.name += ".base";
    OperatorSpec op = product(name + "_proj", OperatorKind::kLinear, kernel, in, in_width, base, full());
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
    adapter(name, in, in_width, base, std::move(out), inputs_are_split ? 1 : gpus_, inputs_are_split ? gpus_ : copies);
  }

  // `down_gpus`, `up_gpus`: that hold the same A, the same B.
  void adapter(const std::string& name, const std::string& in, std::int64_t in_width, const TensorSpec& base,
               TensorSpec out, std::int64_t down_gpus, std::int64_t up_gpus) {
    const std::string a = fmt::format("a.{}", name);
    const std::string prefix = name + "_proj.lora_";
    spec_.operators.push_back(product(prefix + "a", OperatorKind::kAdapterDown, prefix + "a", in, in_width,
                                      vector(a, training_.lora_rank), true));
    spec_.operators.back().gradient_gpus = down_gpus;
    OperatorSpec up =
        product(prefix + "b", OperatorKind::kAdapterUp, prefix + "b", a, training_.lora_rank, std::move(out), true);
    up.gradient_gpus = up_gpus;
    up.inputs.push_back(base.name);
    up.gradients.push_back({{base.name}, {}, prefix + "b.view", {}, true});
    spec_.operators.push_back(std::move(up));
  }

  void project_qkv(const std::string& in) {
    linear(LinearModule::kQ, "qkv_proj", in, per_head("q.linear", shape_.heads), shape_.qkv_bias);
    linear(LinearModule::kK, "qkv_proj", in, per_head("k.linear", shape_.kv_heads), shape_.qkv_bias);
    linear(LinearModule::kV, "qkv_proj", in, per_head("v", shape_.kv_heads), shape_.qkv_bias);
    rotary("q_rotary", "q.linear", per_head("q", shape_.heads));
    rotary("k_rotary", "k.linear", per_head("k", shape_.kv_heads));
    // The cache holds keys after rotation; the copy itself is the only traffic that is no tensor of the graph.
    spec_.operators.push_back({"kv_write",
                               OperatorKind::kCacheWrite,
                               "kv_write",
                               {"k", "v"},
                               {},
                               {.bytes_per_token = static_cast<double>(2 * shape_.kv_width() * shape_.dtype_bytes)}});
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

  void residual(const std::string& name, const std::string& kernel, const std::string& stream,
                const std::string& branch, const std::string& out) {
    OperatorSpec op{name,
                    OperatorKind::kResidual,
                    kernel,
                    {stream, branch},
                    {vector(out, shape_.hidden)},
                    residual_work(shape_.hidden)};
    op.gradients = {{{stream, branch}, {}, name + ".view", {}, true}};
    spec_.operators.push_back(std::move(op));
  }

  void gated_activation() {
    const std::int64_t width = shape_.intermediate;
    OperatorSpec op{"silu_mul",     OperatorKind::kGatedActivation, "silu_mul",
                    {"gate", "up"}, {vector("gated", width)},       gated_activation_work(width)};
    op.gradients = {{{"gate", "up"}, {"gate", "up"}, "silu_mul.d", gated_activation_gradient_work(width)}};
    op.rebuild_kernel = "silu_mul.d";  // which has read gate and up, and only has to write it (gated_activation.h)
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
      return true;
    case OperatorKind::kLinear:
    case OperatorKind::kAdapterDown:
    case OperatorKind::kAdapterUp:
    case OperatorKind::kNormStatistics:
    case OperatorKind::kCacheWrite:
    case OperatorKind::kAttention:
    case OperatorKind::kAllReduce:
      return false;
  }
  return false;
}

bool is_matrix_product(OperatorKind kind) {
  return kind == OperatorKind::kLinear || kind == OperatorKind::kAdapterDown || kind == OperatorKind::kAdapterUp ||
         kind == OperatorKind::kAttention;
}

std::int64_t TensorSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

LayerSpec declare_layer(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel) {
  check(shape.hidden > 0 && shape.intermediate > 0 && shape.head_dim > 0, "a model's widths are positive");
  check(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0, "query heads are a multiple of key/value heads");
  check(training.lora_rank >= 1, "an adapter's rank is at least 1");
  check(tensor_parallel >= 1 && !split_error(shape, tensor_parallel), "the model can be split over the GPUs");
  return LayerBuilder(shape, training, tensor_parallel).build();
}

}  // namespace alchemist
