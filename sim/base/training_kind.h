// The words that configuration, trainer and cost models share about training.
#pragma once

namespace alchemist {

enum class TrainingMethod { lora, full };
enum class TrainingObjective { sft, dpo, grpo };  // supervised, preference pair, group of answers

}  // namespace alchemist
