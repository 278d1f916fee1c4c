#include "sim/model/describe_layer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "sim/model/backward_schedule.h"
#include "sim/model/keep_cut.h"
#include "sim/model/layer_costs.h"
#include "sim/model/record_set.h"

namespace alchemist {
namespace {

constexpr std::int32_t kExampleTokens = 2048;  // sequence length of the figures that depend on it

// 139400 -> "139,400".
std::string grouped(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  const std::size_t sign = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

class LayerDescription {
 public:
  LayerDescription(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel)
      : shape_(shape),
        training_(training),
        gpus_(tensor_parallel),
        graph_(build_layer_graph(shape, training, tensor_parallel)),
        costs_(layer_costs(graph_)),
        minimal_(minimal_tensors(graph_)) {}

  std::string text() {
    title();
    operators();
    tensors();
    record_sets();
    totals();
    objectives();
    orders();
    critical_paths();
    cheapest_sets();
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  std::vector<std::string> names(const std::vector<TensorId>& tensors) const {
    std::vector<std::string> result;
    for (const TensorId tensor : tensors) result.push_back(graph_[tensor].spec.name);
    return result;
  }
  std::vector<std::string> names(const std::vector<OperatorId>& operators) const {
    std::vector<std::string> result;
    for (const OperatorId op : operators) result.push_back(graph_[op].name);
    return result;
  }

  void title() {
    std::vector<std::string> modules;
    for (const LinearModule module : training_.lora_modules) modules.emplace_back(module_name(module));
    const bool lora = training_.method == TrainingMethod::lora;
    line("Decoder layer of {} ({} layers), {}{}", shape_.name, shape_.layers, lora ? "LoRA" : "full fine-tuning",
         lora ? fmt::format(", rank {}, adapters on {}", training_.lora_rank, joined(modules, " ")) : "");
    if (gpus_ > 1) line("What one of {} GPUs has and does of it.", gpus_);
    if (shape_.experts > 0)
      line("A token passes {} of {} experts; weight bytes are those of all.", shape_.experts_per_token, shape_.experts);
    line("Figures are for one token of one layer unless they say otherwise. A key is one (token, attended key) pair.");
  }

  // FLOPs of the backward parts of a forward operator.
  Work backward_of(OperatorId forward) const {
    Work sum;
    for (const Operator& op : graph_.operators) {
      if (op.forward == forward) sum += op.work;
    }
    return sum;
  }

  static std::string flops(const Work& work) {
    const double per_token = work.matrix_flops_per_token + work.vector_flops_per_token;
    const double per_key = work.matrix_flops_per_key + work.vector_flops_per_key;
    if (per_key == 0) return grouped(per_token);
    return (per_token > 0 ? grouped(per_token) + " + " : "") + grouped(per_key) + "/key";
  }

  void operators() {
    line("\n{:<20} {:<17} {:>14} {:>22} {:>14} {:>12}", "operator", "kernel", "forward FLOPs", "backward FLOPs",
         "weight bytes", "bytes");
    for (const OperatorId id : graph_.operators_of(Phase::kForward)) {
      const Operator& op = graph_[id];
      line("{:<20} {:<17} {:>14} {:>22} {:>14} {:>12}", op.name, op.kernel, flops(op.work), flops(backward_of(id)),
           grouped(op.work.weight_bytes), grouped(kernel_work(graph_, std::span(&id, 1)).bytes_per_token));
    }
    line("bytes: activations read and written by the operator alone; operators of one kernel share some of them");
  }

  static std::string_view origin_name(ServingOrigin origin) {
    switch (origin) {
      case ServingOrigin::kCached:
        return "KV cache";
      case ServingOrigin::kTransient:
        return "transient";
      case ServingOrigin::kInRegisters:
        return "in registers";
    }
    return "";
  }

  std::string backward_readers(TensorId tensor) const {
    std::vector<std::string> readers;
    for (const OperatorId reader : graph_[tensor].readers) {
      if (graph_[reader].phase == Phase::kBackward) readers.push_back(graph_[reader].name);
    }
    return readers.empty() ? "-" : joined(readers, " ");
  }

  void tensors() {
    line("\n{:<12} {:<10} {:>9} {:<13} {:>11} {}", "tensor", "shape", "bytes", "after prefill", "FLOP/byte",
         "read in backward by");
    for (std::uint32_t i = 0; i < graph_.tensors.size() && !graph_.tensors[i].gradient_of; ++i) {
      const TensorId id(i);
      const bool kept = std::find(minimal_.begin(), minimal_.end(), id) != minimal_.end();
      const std::string intensity =
          kept ? grouped(rebuild_flops_per_byte(graph_, minimal_, id, kExampleTokens / 2.0)) : "-";
      line("{:<12} {:<10} {:>9} {:<13} {:>11} {}", graph_[id].spec.name,
           fmt::format("{}", fmt::join(graph_[id].spec.shape, "x")),
           grouped(static_cast<double>(graph_[id].bytes_per_token())), origin_name(serving_origin(graph_, id)),
           intensity, backward_readers(id));
    }
    line("FLOP/byte: to rebuild a tensor of the minimal set from the others, in a sequence of {} tokens",
         kExampleTokens);
  }

  void record_sets() {
    line("\n{:<8} {:>9} {:>12} {:>14} {:>16} {:>7} {:>8}  {}", "keep", "bytes", "of them KV", "bytes x layers",
         "rebuild FLOPs", "share", "kernels", "tensors");
    const double forward = costs_.forward.work().flops_per_token(kExampleTokens / 2.0);
    for (const RecordSet& set : named_record_sets(graph_)) {
      const double rebuild = set.rebuild.work.flops_per_token(kExampleTokens / 2.0);
      line("{:<8} {:>9} {:>12} {:>14} {:>16} {:>6.1f}% {:>8}  {}{}", set.name, grouped(set.bytes_per_token.as_double()),
           grouped(set.cached_bytes_per_token.as_double()),
           grouped(static_cast<double>(shape_.layers) * set.bytes_per_token.as_double()), grouped(rebuild),
           100 * rebuild / forward, set.rebuild.kernels.size(),
           set.tensors.empty() ? "-" : joined(names(set.tensors), " "),
           set.rebuild.from_below ? " (input rebuilt by the layer below)" : "");
    }
    line("rebuild: what must run again before backward, and its share of the forward, in a sequence of {} tokens",
         kExampleTokens);
    if (gpus_ == 1) return;
    std::vector<std::string> parts;
    for (const RecordSet& set : named_record_sets(graph_)) {
      if (set.split_bytes_per_token < set.bytes_per_token)
        parts.push_back(fmt::format("{} {}", set.name, grouped(set.split_bytes_per_token.as_double())));
    }
    line("bytes with training.sequence_parallel: {}", fmt::join(parts, ", "));
  }

  void totals() {
    const PrefillChunk sequence{kExampleTokens, 0};
    const double layers = static_cast<double>(shape_.layers);
    const HeadCosts head = head_costs(shape_, training_, gpus_);
    line("\n{:<9} {:>16} {:>16} {:>14} {:>10} {:>8} {:>24}", "phase", "matrix FLOPs", "vector FLOPs", "weight bytes",
         "bytes", "kernels", fmt::format("model TFLOP ({} tokens)", kExampleTokens));
    const auto row = [&](const char* name, const PhaseCosts& layer, const PhaseCosts& top) {
      const Work work = layer.work();
      const double matrix = work.matrix_flops(sequence) / kExampleTokens;
      line("{:<9} {:>16} {:>16} {:>14} {:>10} {:>8} {:>24.2f}", name, grouped(matrix),
           grouped(work.flops(sequence) / kExampleTokens - matrix), grouped(work.weight_bytes),
           grouped(work.bytes_per_token), layer.kernels.size(),
           (layers * work.flops(sequence) + top.work().flops(sequence)) * 1e-12);
    };
    row("forward", costs_.forward, head.forward);
    row("backward", costs_.backward, head.backward);
    if (gpus_ > 1) {
      line("bytes added up over the GPUs: forward {}, backward {}",
           grouped(costs_.forward.work().reduced_bytes_per_token),
           grouped(costs_.backward.work().reduced_bytes_per_token));
    }
    line("parameters of a layer {}, trained {}; trained in the model {}",
         grouped(static_cast<double>(costs_.parameters)), grouped(static_cast<double>(costs_.trained_parameters)),
         grouped(layers * static_cast<double>(costs_.trained_parameters) +
                 static_cast<double>(head.trained_parameters)));
  }

  void objective(std::string_view name, TrainingObjective kind, bool reference) {
    TrainingShape training = training_;
    training.objective = kind;
    training.reference_model = reference;
    const std::int64_t answers = answers_per_sample(training);
    const ObjectiveTokens tokens =
        objective_tokens(training, 1, std::vector<std::int64_t>(static_cast<std::size_t>(answers), 1));
    line("{:<26} {:>7} {:>14} {:>24.3g}", name, answers, tokens.prompt_repeats, tokens.forward_passes());
  }

  void objectives() {
    line("\n{:<26} {:>7} {:>14} {:>24}", "objective", "answers", "prompt repeats", "forwards / backward");
    objective("sft", TrainingObjective::sft, false);
    objective("dpo, no reference model", TrainingObjective::dpo, false);
    objective("dpo, reference model", TrainingObjective::dpo, true);
    objective("grpo, no reference model", TrainingObjective::grpo, false);
    objective("grpo, reference model", TrainingObjective::grpo, true);
  }

  void orders() {
    const BackwardSchedule schedule = backward_schedule(graph_, minimal_);
    line("\nminimal set, reload by first use:  {}", joined(names(schedule.reload_order), " "));
    line("minimal set, release by last use:  {}", joined(names(schedule.release_order), " "));
    line("rebuilt tensors and gradients alive at once: {} bytes",
         grouped(static_cast<double>(schedule.peak_working_bytes_per_token)));
  }

  void critical_paths() {
    const auto flops_of = [&](OperatorId id) { return graph_[id].work.flops_per_token(kExampleTokens / 2.0); };
    for (const Phase phase : {Phase::kForward, Phase::kBackward}) {
      double sum = 0;
      for (const OperatorId id : graph_.operators_of(phase)) sum += flops_of(id);
      const CriticalPath path = critical_path(graph_, phase, flops_of);
      line("critical path, {}: {:.0f} % of the FLOPs: {}", phase == Phase::kForward ? "forward" : "backward",
           sum > 0 ? 100 * path.seconds / sum : 0, joined(names(path.operators), " "));
    }
  }

  RecordSet cheapest(double flops_per_byte) const {
    constexpr double kBytesPerSecond = 1e9;  // only the quotient of the two rates matters
    const RestoreRates rates{kBytesPerSecond, kBytesPerSecond * flops_per_byte, {}};
    return cheapest_record_set(graph_, rates, kExampleTokens / 2.0, CacheUse::kPaid);
  }

  // The balance in [low, high], to four digits, from which the cheapest set is no longer `at_low`.
  double change_after(double low, double high, const std::vector<TensorId>& at_low) const {
    while (high / low > 1.0001) {
      const double middle = std::sqrt(low * high);
      (cheapest(middle).tensors == at_low ? low : high) = middle;
    }
    return high;
  }

  // One line for each set that is cheapest somewhere. A step of 2 % is finer than any two tensors' intensities differ,
  // unless they are equal but for rounding.
  void cheapest_sets() {
    line("\ncheapest set to keep (minimum cut; bytes copied and FLOPs recomputed one after the other; sequence of {})",
         kExampleTokens);
    line("{:>16} {:>9}  {}", "from FLOP/byte", "bytes", "tensors");
    constexpr double kLowest = 0.1, kHighest = 2e6, kStep = 1.02;
    std::optional<RecordSet> last;
    for (double balance = kLowest; balance < kHighest; balance *= kStep) {
      RecordSet set = cheapest(balance);
      if (last && last->tensors == set.tensors) continue;
      const double from = last ? change_after(balance / kStep, balance, last->tensors) : 0;
      line("{:>16} {:>9}  {}", from < 100 ? fmt::format("{:.1f}", from) : grouped(from),
           grouped(set.bytes_per_token.as_double()),
           set.tensors.empty() ? "- (the whole forward runs again)" : joined(names(set.tensors), " "));
      last = std::move(set);
    }
  }

  const ModelShape& shape_;
  const TrainingShape& training_;
  std::int64_t gpus_;
  LayerGraph graph_;
  LayerCosts costs_;
  std::vector<TensorId> minimal_;
  std::string out_;
};

}  // namespace

std::string describe_layer_graph(const ModelShape& shape, const TrainingShape& training, std::int64_t tensor_parallel) {
  return LayerDescription(shape, training, tensor_parallel).text();
}

}  // namespace alchemist
