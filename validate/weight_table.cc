#include <fmt/format.h>

#include <functional>
#include <numeric>

#include "validate/weights.h"

namespace alchemist {
namespace {

using Start = WeightEntry::Start;

class TableBuilder {
 public:
  TableBuilder(const ModelShape& shape, const TrainingShape& training) : shape_(shape), training_(training) {}

  WeightTable build() {
    add("model.embed_tokens.weight", {shape_.vocabulary, shape_.hidden});
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) add_layer(layer);
    add("model.norm.weight", {shape_.hidden}, Start::kOnes);
    if (!shape_.tied_embeddings) add("lm_head.weight", {shape_.vocabulary, shape_.hidden});
    return std::move(table_);
  }

 private:
  void add(std::string name, std::vector<std::int64_t> shape, Start start = Start::kNormal, bool adapter = false) {
    std::int64_t& end = adapter ? table_.adapter_count : table_.model_count;
    table_.entries.push_back({std::move(name), std::move(shape), end, adapter, start});
    end += table_.entries.back().count();
  }

  // Modules of one product follow each other, then their adapters.
  void add_layer(std::int64_t layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add(prefix + "input_layernorm.weight", {shape_.hidden}, Start::kOnes);
    add_modules(prefix + "self_attn.", {LinearModule::kQ, LinearModule::kK, LinearModule::kV});
    if (shape_.qkv_bias) {
      for (const LinearModule module : {LinearModule::kQ, LinearModule::kK, LinearModule::kV}) {
        add(fmt::format("{}self_attn.{}_proj.bias", prefix, module_name(module)), {module_out(shape_, module)});
      }
    }
    add_modules(prefix + "self_attn.", {LinearModule::kO});
    add(prefix + "post_attention_layernorm.weight", {shape_.hidden}, Start::kOnes);
    add_modules(prefix + "mlp.", {LinearModule::kGate, LinearModule::kUp});
    add_modules(prefix + "mlp.", {LinearModule::kDown});
  }

  void add_modules(const std::string& prefix, std::initializer_list<LinearModule> modules) {
    for (const LinearModule module : modules) {
      add(fmt::format("{}{}_proj.weight", prefix, module_name(module)),
          {module_out(shape_, module), module_in(shape_, module)});
    }
    if (training_.method == TrainingMethod::full) return;
    for (const LinearModule module : modules) {
      if (!training_.lora_modules.contains(module)) continue;
      const std::string name = fmt::format("{}{}_proj.", prefix, module_name(module));
      add(name + "lora_A.weight", {training_.lora_rank, module_in(shape_, module)}, Start::kUniform, true);
      add(name + "lora_B.weight", {module_out(shape_, module), training_.lora_rank}, Start::kZeros, true);
    }
  }

  const ModelShape& shape_;
  const TrainingShape& training_;
  WeightTable table_;
};

}  // namespace

std::int64_t module_in(const ModelShape& shape, LinearModule module) {
  if (module == LinearModule::kO) return shape.q_width();
  return module == LinearModule::kDown ? shape.intermediate : shape.hidden;
}

std::int64_t module_out(const ModelShape& shape, LinearModule module) {
  switch (module) {
    case LinearModule::kQ:
      return shape.q_width();
    case LinearModule::kK:
    case LinearModule::kV:
      return shape.kv_width();
    case LinearModule::kGate:
    case LinearModule::kUp:
      return shape.intermediate;
    case LinearModule::kO:
    case LinearModule::kDown:
      break;
  }
  return shape.hidden;
}

std::int64_t WeightEntry::count() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

WeightTable weight_table(const ModelShape& shape, const TrainingShape& training) {
  return TableBuilder(shape, training).build();
}

}  // namespace alchemist
