#include "sim/app/training_watch.h"

#include <fmt/format.h>

#include <optional>

#include "sim/app/gib.h"

namespace alchemist {
namespace {

std::string too_long(const SimulationTotals& totals, const TrainingConfig& training) {
  const std::int32_t answers = 1 + training.other_answers();
  return fmt::format("{} samples{} were too long to train: their activations do not fit the memory",
                     totals.trainer.too_long,
                     answers > 1 ? fmt::format(", each a prompt with its {} answers,", answers) : "");
}

// As far as it is known: what certainly keeps every step from being made.
std::string why_nothing(const SimulationTotals& totals, const ExperimentWorld& world, const TrainingWatch& watch) {
  const TrainingConfig& training = world.config().training->trainer.training;
  if (totals.feedback_tokens < training.batch_tokens) {
    return fmt::format("no batch of {} tokens (training.batch_tokens) was ever full: {} tokens of feedback came",
                       training.batch_tokens, totals.feedback_tokens);
  }
  const std::string unfinished = "no training step was complete when the run ended";
  const std::optional<double> step_ns = watch.decode_steps().quantile(0.5);
  // While no request runs it trains all the same.
  if (!world.policy().heeds_max_itl() || !training.max_itl || !step_ns) return unfinished;
  const double gap = training.max_itl->in_milliseconds(), step = *step_ns * 1e-6;
  if (gap <= step) {
    return fmt::format(
        "training.max_itl of {:g} ms is shorter than a decode step alone takes (median {:.1f} ms): no piece of "
        "training fits behind it",
        gap, step);
  }
  return fmt::format("{}; training.max_itl of {:g} ms leaves {:.1f} ms behind a decode step (median {:.1f} ms)",
                     unfinished, gap, gap - step, step);
}

// A policy that records may all the same train nearly as one that does not, and its user should know what to change.
std::string little_reuse(const ExperimentWorld& world, const TrainingWatch& watch) {
  const auto share = [&](std::int64_t tokens) {
    return 100 * static_cast<double>(tokens) / static_cast<double>(watch.tokens());
  };
  return fmt::format(
      "hardly anything was reused: {:.1f} % of the tokens trained had a record, of {:.0f} % it was gone or too old, "
      "the others had none, for policies record less where records come to nothing. They may be {} optimizer steps "
      "old (training.max_version_lag), and {} steps were run",
      share(watch.reused()), share(watch.dropped()), world.config().training->trainer.training.max_version_lag,
      watch.steps());
}

// More is left than the batch that each replica may have been at, and the one that it may have been waiting for.
bool falls_behind(const SimulationTotals& totals, const ExperimentWorld& world) {
  const TrainerConfig& trainer = world.config().training->trainer;
  return totals.trainer.queued_tokens > 2 * trainer.training.batch_tokens * trainer.replicas;
}

// However well training's computing hides, the memory that it holds does not.
std::optional<std::string> little_memory(const ExperimentWorld& world) {
  const Bytes held = world.held_by_training(), left = world.kv_bytes();
  if (held <= left) return std::nullopt;
  return fmt::format(
      "training holds {} of each serving GPU for good, which leaves {} to keys, values and records in place of {}: "
      "serving may suffer however well the computing hides",
      gib(held), gib(left), gib(held + left));
}

}  // namespace

void TrainingWatch::on_training_step(const TrainingStep& step) {
  ++steps_;
  tokens_ += step.tokens;
  reused_ += step.reused_tokens;
  dropped_ += step.dropped_tokens;
}

void TrainingWatch::on_serving_span(const ServingSpan& span) {
  if (span.prefill_tokens > 0 || span.decodes == 0 || span.steps < 1) return;
  decode_steps_.add((span.end - span.start).count_ns() / span.steps, span.steps);
}

std::vector<std::string> training_warnings(const SimulationTotals& totals, const ExperimentWorld& world,
                                           const TrainingWatch& watch) {
  std::vector<std::string> warnings;
  if (!world.training()) return warnings;
  if (const auto warning = little_memory(world)) warnings.push_back(*warning);
  if (totals.trainer.too_long > 0) warnings.push_back(too_long(totals, world.config().training->trainer.training));
  constexpr std::int64_t kOneIn = 20;
  if (world.policy().records() && watch.tokens() > kOneIn * watch.reused()) {
    warnings.push_back(little_reuse(world, watch));
  }
  if (totals.feedback_samples == 0) {
    warnings.push_back(
        fmt::format("nothing was trained: no feedback came before the run ended, after {:.3g} s "
                    "(training.feedback says how much comes, and when)",
                    totals.end.in_seconds()));
  } else if (watch.steps() == 0 && totals.trainer.queued_samples > 0) {
    warnings.push_back(fmt::format("nothing was trained of the {} samples whose feedback came: {}",
                                   totals.feedback_samples, why_nothing(totals, world, watch)));
  } else if (falls_behind(totals, world)) {
    warnings.push_back(fmt::format("training does not keep up: {} of {} samples whose feedback came were not trained",
                                   totals.trainer.queued_samples, totals.feedback_samples));
  }
  return warnings;
}

}  // namespace alchemist
