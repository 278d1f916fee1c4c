// The words that configuration, trainer and cost models share about training.
#pragma once

#include <iterator>
#include <set>

namespace alchemist {

enum class TrainingMethod { lora, full };
enum class TrainingObjective { sft, dpo, grpo };  // supervised, preference pair, group of answers

// The linear modules of a decoder layer, in the order of execution.
enum class LinearModule { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr LinearModule kLinearModules[] = {LinearModule::kQ,   LinearModule::kK,    LinearModule::kV,
                                                  LinearModule::kO,   LinearModule::kGate, LinearModule::kUp,
                                                  LinearModule::kDown};

// Modules with an adapter unless something else is said: all linear ones, which is what LoRA needs to match full
// fine-tuning (Dettmers et al., "QLoRA", 2023, section 4). PEFT's smaller default for Llama is {q, v}.
inline std::set<LinearModule> all_linear_modules() { return {std::begin(kLinearModules), std::end(kLinearModules)}; }

}  // namespace alchemist
