// The words that configuration, trainer and cost models share about training.
#pragma once

#include <iterator>
#include <set>

namespace alchemist {

enum class TrainingMethod { lora, full };
enum class TrainingObjective { sft, dpo, grpo };  // supervised, preference pair, group of answers

// Which adapters backward has for what is recorded: those of now, whose gradient, over activations of older ones, is
// that of no loss; or those that it was recorded under, a late gradient, for which copies of them are kept.
enum class BackwardWeights { kCurrent, kRecorded };

// The linear modules of a decoder layer, in the order of execution.
enum class LinearModule { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr LinearModule kLinearModules[] = {LinearModule::kQ,   LinearModule::kK,    LinearModule::kV,
                                                  LinearModule::kO,   LinearModule::kGate, LinearModule::kUp,
                                                  LinearModule::kDown};

// Modules with an adapter unless something else is said: all linear ones, which is what LoRA needs to match full
// fine-tuning (Dettmers et al., "QLoRA", 2023, section 4). PEFT's smaller default for Llama is {q, v}.
inline std::set<LinearModule> all_linear_modules() { return {std::begin(kLinearModules), std::end(kLinearModules)}; }

}  // namespace alchemist
