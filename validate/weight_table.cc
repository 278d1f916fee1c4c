#include <fmt/format.h>

#include <functional>
#include <numeric>

#include "validate/weights.h"

namespace alchemist {
namespace {

class TableBuilder {
 public:
  TableBuilder(const ModelShape& shape, const TrainingShape& training) : shape_(shape), training_(training) {}

  WeightTable build() {
    add({"model.embed_tokens.weight", {shape_.vocabulary, shape_.hidden}, WeightRole::kEmbedding});
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) add_layer(layer);
    add({"model.norm.weight", {shape_.hidden}, WeightRole::kFinalNorm});
    if (!shape_.tied_embeddings) add({"lm_head.weight", {shape_.vocabulary, shape_.hidden}, WeightRole::kHead});
    return std::move(table_);
  }

 private:
  void add(WeightEntry entry) {
    std::int64_t& end = entry.adapter() ? table_.adapter_count : table_.model_count;
    entry.offset = end;
    end += entry.count();
    table_.entries.push_back(std::move(entry));
  }

  void add_layer(std::int64_t layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add({prefix + "input_layernorm.weight", {shape_.hidden}, WeightRole::kInputNorm, layer});
    add_linears(layer, {LinearModule::kQ, LinearModule::kK, LinearModule::kV});
    for (const LinearModule module : {LinearModule::kQ, LinearModule::kK, LinearModule::kV}) {
      if (!shape_.qkv_bias) break;
      add({module_prefix(layer, module) + "bias", {module_out(shape_, module)}, WeightRole::kBias, layer, module});
    }
    if (shape_.qk_norm) {
      add({prefix + "self_attn.q_norm.weight", {shape_.head_dim}, WeightRole::kQNorm, layer});
      add({prefix + "self_attn.k_norm.weight", {shape_.head_dim}, WeightRole::kKNorm, layer});
    }
    add_linears(layer, {LinearModule::kO});
    add({prefix + "post_attention_layernorm.weight", {shape_.hidden}, WeightRole::kPostNorm, layer});
    add_linears(layer, {LinearModule::kGate, LinearModule::kUp});
    add_linears(layer, {LinearModule::kDown});
  }

  static std::string module_prefix(std::int64_t layer, LinearModule module) {
    const char* block = module < LinearModule::kGate ? "self_attn" : "mlp";
    return fmt::format("model.layers.{}.{}.{}_proj.", layer, block, module_name(module));
  }

  // The modules of one product: their weights lie one behind the other, and so do their adapters' A.
  void add_linears(std::int64_t layer, std::initializer_list<LinearModule> modules) {
    for (const LinearModule module : modules) {
      add({module_prefix(layer, module) + "weight",
           {module_out(shape_, module), module_in(shape_, module)},
           WeightRole::kLinear,
           layer,
           module});
    }
    if (training_.method == TrainingMethod::full) return;
    const std::int64_t rank = training_.lora_rank;
    for (const WeightRole role : {WeightRole::kLoraA, WeightRole::kLoraB}) {
      for (const LinearModule module : modules) {
        if (!training_.lora_modules.contains(module)) continue;
        const std::string prefix = module_prefix(layer, module);
        if (role == WeightRole::kLoraA) {
          add({prefix + "lora_A.weight", {rank, module_in(shape_, module)}, role, layer, module});
        } else {
          add({prefix + "lora_B.weight", {module_out(shape_, module), rank}, role, layer, module});
        }
      }
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
