#include "sim/app/breakeven.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/app/training_setup.h"
#include "sim/model/training_cost.h"
#include "sim/policy/layer_times.h"
#include "sim/policy/restore_plan.h"

namespace alchemist {
namespace {

constexpr std::int64_t kBatchTokens = 8192;
constexpr std::int64_t kShortestContext = 512;
constexpr double kLinks[] = {10e9, 25e9, 55e9, 100e9, 200e9, 450e9};  // PCIe 3, 4, 5 and 6, and NVLink to the host
constexpr TrainingMethod kMethods[] = {TrainingMethod::lora, TrainingMethod::full};

const char* method_name(TrainingMethod method) { return method == TrainingMethod::lora ? "lora" : "full"; }

TrainingShape shape_of(TrainingMethod method) {
  TrainingShape training;
  training.method = method;
  return training;
}

RestoreSeconds restore_seconds(const LayerTimes& times) {
  const RestoreProblem problem(times);
  RestoreProblem in_memory(times);
  for (LayerRecord& record : in_memory.records) record.absent_share = 0;
  const auto seconds = [](const RestorePlan& plan, const RestoreProblem& of) {
    return evaluate(plan, of).step_seconds;
  };
  return {.reload_all = seconds(reload_all(problem), problem),
          .recompute_all = seconds(recompute_all(problem), problem),
          .race = seconds(race(problem), problem),
          .planned = seconds(planned(problem), problem),
          .resident = seconds(reload_all(in_memory), in_memory)};
}

std::vector<double> links_of(const HardwareSpec& hardware) {
  std::vector<double> links(std::begin(kLinks), std::end(kLinks));
  links.push_back(hardware.link_h2d_bandwidth);
  std::sort(links.begin(), links.end());
  links.erase(std::unique(links.begin(), links.end()), links.end());
  return links;
}

}  // namespace

BreakevenPoint breakeven_point(const ModelShape& model, const HardwareSpec& hardware, const TrainingShape& training,
                               std::int64_t context_tokens, double link, std::int32_t tensor_parallel) {
  HardwareSpec with_link = hardware;
  with_link.link_h2d_bandwidth = link;
  const TrainingCost cost(with_link, model, training, 1, tensor_parallel);
  const std::int64_t sequences = std::max<std::int64_t>(1, kBatchTokens / context_tokens);
  RestoreDemand demand;
  demand.layers = static_cast<std::int32_t>(model.layers);
  demand.tokens = demand.targets = demand.recorded = demand.recorded_targets = sequences * context_tokens;
  demand.attended_keys = static_cast<double>(demand.tokens) * static_cast<double>(context_tokens + 1) / 2;
  demand.recorded_keys = demand.attended_keys;
  demand.lean_per_token = cost.record_bytes().lean * model.layers;
  demand.minimal_per_token = cost.record_bytes().minimal * model.layers;
  const LayerTimes times = layer_times(demand, CostEstimator(cost, with_link));
  return {training.method, context_tokens, demand.tokens, link, restore_seconds(times)};
}

std::vector<BreakevenPoint> breakeven_points(const ModelShape& model, const HardwareSpec& hardware,
                                             std::int32_t tensor_parallel) {
  std::vector<BreakevenPoint> points;
  for (const TrainingMethod method : kMethods) {
    for (const double link : links_of(hardware)) {
      for (std::int64_t context = kShortestContext; context <= model.max_position; context *= 2) {
        points.push_back(breakeven_point(model, hardware, shape_of(method), context, link, tensor_parallel));
      }
    }
  }
  return points;
}

std::optional<std::int64_t> breakeven_context(const ModelShape& model, const HardwareSpec& hardware,
                                              const TrainingShape& training, double link,
                                              std::int32_t tensor_parallel) {
  const auto pays = [&](std::int64_t context) {
    const RestoreSeconds s = breakeven_point(model, hardware, training, context, link, tensor_parallel).seconds;
    return s.reload_all <= s.recompute_all;
  };
  std::int64_t low = 0, high = model.max_position;  // does not pay at low, pays at high
  if (!pays(high)) return std::nullopt;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (pays(middle) ? high : low) = middle;
  }
  return high;
}

std::string breakeven_table(const ModelShape& model, const HardwareSpec& hardware, std::int32_t tensor_parallel) {
  const std::string gpus = tensor_parallel > 1 ? fmt::format("{} x ", tensor_parallel) : "";
  std::string text = fmt::format(
      "{} on {}{}\n\n"
      "Reloading everything beats recomputing everything from this context on, in tokens, by GB/s of the link:\n"
      "{:<7}",
      model.name, gpus, hardware.name, "method");
  for (const double link : links_of(hardware)) text += fmt::format(" {:>9.4g}", link * 1e-9);
  text += '\n';
  for (const TrainingMethod method : kMethods) {
    text += fmt::format("{:<7}", method_name(method));
    for (const double link : links_of(hardware)) {
      const std::optional<std::int64_t> context =
          breakeven_context(model, hardware, shape_of(method), link, tensor_parallel);
      text += fmt::format(" {:>9}", !context ? "never" : *context == 1 ? "always" : std::to_string(*context));
    }
    text += '\n';
  }
  text += fmt::format(
      "\nms from the start of the restore to the end of backward of a micro-batch:\n"
      "{:<7} {:>9} {:>8} {:>8} {:>11} {:>13} {:>9} {:>9} {:>9}\n",
      "method", "link GB/s", "context", "tokens", "reload_all", "recompute_all", "race", "planned", "resident");
  for (const BreakevenPoint& p : breakeven_points(model, hardware, tensor_parallel)) {
    const RestoreSeconds& s = p.seconds;
    text += fmt::format("{:<7} {:>9.4g} {:>8} {:>8} {:>11.1f} {:>13.1f} {:>9.1f} {:>9.1f} {:>9.1f}\n",
                        method_name(p.method), p.link * 1e-9, p.context_tokens, p.batch_tokens, s.reload_all * 1e3,
                        s.recompute_all * 1e3, s.race * 1e3, s.planned * 1e3, s.resident * 1e3);
  }
  return text;
}

std::string breakeven_csv(const std::vector<BreakevenPoint>& points) {
  std::string text =
      "method,link_h2d_gb_per_s,context_tokens,batch_tokens,reload_all_ms,recompute_all_ms,race_ms,planned_ms,"
      "resident_ms\n";
  for (const BreakevenPoint& p : points) {
    const RestoreSeconds& s = p.seconds;
    text += fmt::format("{},{},{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", method_name(p.method), p.link / 1e9,
                        p.context_tokens, p.batch_tokens, s.reload_all * 1e3, s.recompute_all * 1e3, s.race * 1e3,
                        s.planned * 1e3, s.resident * 1e3);
  }
  return text;
}

}  // namespace alchemist
