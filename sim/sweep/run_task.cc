#include "sim/sweep/run_task.h"

#include <new>

#include "sim/app/run_experiment.h"
#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/observer.h"

namespace alchemist {

namespace {

struct Stopped {};

// Ends a run from within.
class StopObserver final : public RunObserver {
 public:
  explicit StopObserver(std::stop_token stop) : stop_(std::move(stop)) {}
  void on_serving_span(const ServingSpan&) override {
    if (stop_.stop_requested()) throw Stopped();
  }

 private:
  std::stop_token stop_;
};

std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += (text.empty() ? "" : "; ") + sentence;
  return text;
}

void run(const RunTask& task, std::stop_token stop, RunOutcome& outcome) {
  const Experiment experiment = read_experiment(task.base->text, task.base->origin, task.overrides);
  outcome.config = emit_experiment(experiment);
  StopObserver observer(std::move(stop));
  const RunReport report = run_with_results(experiment, task.directory, false, &observer);
  outcome.summary = summary_json(report.summary);
  outcome.message = join(report.warnings);
}

}  // namespace

RunOutcome run_task(const RunTask& task, std::stop_token stop) {
  RunOutcome outcome{.point = task.point, .seed = task.seed};
  const auto ends_as = [&outcome](RunStatus status, const std::string& message) {
    outcome.status = status;
    outcome.message = message;
  };
  try {
    run(task, std::move(stop), outcome);
  } catch (const Stopped&) { ends_as(RunStatus::kStopped, "stopped"); } catch (const OutputError& e) {
    ends_as(RunStatus::kUnwritable, e.what());
  } catch (const ConfigError& e) { ends_as(RunStatus::kFailed, e.what()); } catch (const std::bad_alloc&) {
    ends_as(RunStatus::kFailed, "out of memory: expected more of it, or fewer --jobs");
  } catch (const std::exception& e) { ends_as(RunStatus::kBroken, std::string(kInternalError) + e.what()); }
  return outcome;
}

}  // namespace alchemist
