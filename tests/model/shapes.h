// Shapes the model tests derive their numbers from.
#pragma once

#include <string>
#include <vector>

#include "sim/model/record_set.h"

namespace alchemist {

inline ModelShape llama31_8b() {
  return {"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false, false, 2};
}
inline ModelShape llama2_7b() { return {"llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, 4096, false, false, 2}; }
inline ModelShape llama2_13b() { return {"llama-2-13b", 40, 5120, 13824, 40, 40, 128, 32000, 4096, false, false, 2}; }
inline ModelShape qwen25_7b() { return {"qwen2.5-7b", 28, 3584, 18944, 28, 4, 128, 152064, 32768, true, false, 2}; }

inline TrainingShape full_training() { return {.method = TrainingMethod::full}; }
inline TrainingShape lora_training(std::int64_t rank, std::set<LinearModule> modules) {
  return {.method = TrainingMethod::lora, .lora_rank = rank, .lora_modules = std::move(modules)};
}

inline std::vector<std::string> names(const LayerGraph& graph, const std::vector<TensorId>& tensors) {
  std::vector<std::string> result;
  for (const TensorId tensor : tensors) result.push_back(graph[tensor].spec.name);
  return result;
}
inline std::vector<std::string> names(const LayerGraph& graph, const std::vector<OperatorId>& operators) {
  std::vector<std::string> result;
  for (const OperatorId op : operators) result.push_back(graph[op].name);
  return result;
}
inline std::vector<TensorId> tensors(const LayerGraph& graph, const std::vector<std::string>& wanted) {
  std::vector<TensorId> result;
  for (const std::string& name : wanted) result.push_back(graph.find_tensor(name).value());
  return result;
}

}  // namespace alchemist
