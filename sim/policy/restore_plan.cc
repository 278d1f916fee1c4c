#include "sim/policy/restore_plan.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "sim/base/check.h"

namespace alchemist {

namespace restore_detail {

void check_problem(const RestoreProblem& problem) {
  const LayerTimes& t = problem.times;
  check(t.layers >= 1, "a micro-batch has at least one layer to restore");
  check(problem.records.size() == static_cast<std::size_t>(t.layers), "one record state a layer");
  for (const double seconds : {t.forward, t.backward, t.reload_full, t.reload_lean, t.rebuild_gate_up, t.head, t.output,
                               problem.fresh_forward, problem.fresh_keys}) {
    check(std::isfinite(seconds) && seconds >= 0, "times of a restore are finite and not negative");
  }
  check(t.reload_lean <= t.reload_full, "a lean record is part of the full one");
  for (const LayerRecord& record : problem.records) {
    check(record.absent_share >= 0 && record.absent_share <= 1, "a share of tokens lies in 0..1");
  }
}

int lowest_meeting_layer(const RestoreProblem& problem) {
  for (int layer = problem.times.layers; layer > 0; --layer) {
    const LayerRecord& record = problem.records[layer - 1];
    if (record.absent_share > 0 && !record.on_host) return layer;
  }
  return 0;
}

RestorePlan meet_at(const RestoreProblem& problem, int meeting_layer) {
  RestorePlan plan;
  plan.layers.resize(problem.records.size());
  for (int layer = 0; layer < problem.times.layers; ++layer) {
    LayerPlan& chosen = plan.layers[layer];
    chosen.gate_up_share = problem.gate_up_recorded ? 1 : 0;
    if (problem.records[layer].absent_share == 0) {
      chosen.source = LayerSource::resident;
    } else {
      chosen.source = layer < meeting_layer ? LayerSource::recompute : LayerSource::reload;
    }
  }
  return plan;
}

ForwardTimes forward_times(const RestorePlan& plan, const RestoreProblem& problem) {
  ForwardTimes times;
  times.layer_end.reserve(plan.layers.size());
  for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
    double seconds = problem.fresh_forward;
    if (plan.layers[layer].source == LayerSource::reload) {
      times.keys += problem.fresh_keys;
      times.end = std::max(times.end, times.keys);
    } else if (plan.layers[layer].source == LayerSource::recompute) {
      seconds += problem.records[layer].absent_share * problem.times.forward;
    }
    times.end += seconds;
    times.busy += seconds;
    times.layer_end.push_back(times.end);
  }
  return times;
}

double head_seconds(const RestorePlan& plan, const RestoreProblem& problem) {
  const bool recomputed = plan.layers.back().source == LayerSource::recompute;
  const double share = recomputed ? 1 - problem.records.back().absent_share : 1;
  return problem.times.head + share * problem.times.output;
}

double rebuild_share(const RestoreProblem& problem, int layer, LayerSource source) {
  const double absent = problem.records[layer].absent_share;
  const double of_resident_tokens = problem.gate_up_recorded ? 0 : 1 - absent;
  return of_resident_tokens + (source == LayerSource::reload ? absent : 0);
}

}  // namespace restore_detail

namespace {

using restore_detail::check_problem;
using restore_detail::forward_times;
using restore_detail::ForwardTimes;
using restore_detail::head_seconds;
using restore_detail::lowest_meeting_layer;
using restore_detail::meet_at;
using restore_detail::rebuild_share;

void check_plan(const RestorePlan& plan, const RestoreProblem& problem) {
  check(plan.layers.size() == problem.records.size(), "a restore plan covers every layer");
  bool reloaded_below = false;
  for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
    const LayerPlan& chosen = plan.layers[layer];
    const LayerRecord& record = problem.records[layer];
    switch (chosen.source) {
      case LayerSource::resident:
        check(record.absent_share == 0, "a resident layer has all its tokens in GPU memory");
        break;
      case LayerSource::reload:
        check(record.on_host, "only what is on the host can be reloaded");
        check(chosen.gate_up_share >= 0 && chosen.gate_up_share <= (problem.gate_up_recorded ? 1 : 0),
              "the share of gate and up that comes over the link lies in 0..1, and is 0 where they were not recorded");
        reloaded_below = true;
        break;
      case LayerSource::recompute:
        check(!reloaded_below, "recomputing a layer starts from a resident or recomputed layer below");
        break;
    }
  }
}

// Deliveries from the last layer down, from `now` on; returns the end of the last one.
double run_link(const RestorePlan& plan, const RestoreProblem& problem, double now, RestoreTimeline& timeline) {
  const double gate_up = problem.times.reload_full - problem.times.reload_lean;
  for (std::size_t layer = plan.layers.size(); layer-- > 0;) {
    if (plan.layers[layer].source != LayerSource::reload) continue;
    const double absent = problem.records[layer].absent_share;
    now += absent * problem.times.reload_lean;
    timeline.layers[layer].lean_ready = now;
    now += absent * plan.layers[layer].gate_up_share * gate_up;
    timeline.layers[layer].ready = now;
  }
  return now;
}

}  // namespace

RestoreTimeline evaluate(const RestorePlan& plan, const RestoreProblem& problem) {
  check_problem(problem);
  check_plan(plan, problem);
  const LayerTimes& times = problem.times;
  RestoreTimeline timeline;
  timeline.layers.resize(plan.layers.size());
  const ForwardTimes forward = forward_times(plan, problem);
  for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
    if (plan.layers[layer].source != LayerSource::recompute) continue;
    timeline.layers[layer].lean_ready = timeline.layers[layer].ready = forward.layer_end[layer];
  }
  timeline.forward_busy = forward.busy;
  timeline.link_busy = run_link(plan, problem, forward.keys, timeline);

  const double head = head_seconds(plan, problem);
  double now = std::max(forward.end, timeline.layers.back().lean_ready) + head;
  for (int layer = times.layers - 1; layer >= 0; --layer) {
    LayerTimeline& at = timeline.layers[layer];
    const LayerPlan& chosen = plan.layers[layer];
    double share = rebuild_share(problem, layer, chosen.source);
    if (chosen.source == LayerSource::reload) share -= problem.records[layer].absent_share * chosen.gate_up_share;
    const double rebuild = std::max(share, 0.0) * times.rebuild_gate_up;
    timeline.rebuild_busy += rebuild;
    at.backward_start = std::max(std::max(now, at.lean_ready) + rebuild, at.ready);
    at.backward_end = now = at.backward_start + times.backward;
  }
  timeline.step_seconds = now;
  timeline.compute_busy = timeline.forward_busy + head + timeline.rebuild_busy + times.layers * times.backward;
  timeline.stall = std::max(timeline.step_seconds - timeline.compute_busy, 0.0);  // rounding aside, never negative
  return timeline;
}

RestorePlan reload_all(const RestoreProblem& problem) {
  check_problem(problem);
  return meet_at(problem, lowest_meeting_layer(problem));
}

RestorePlan recompute_all(const RestoreProblem& problem) {
  check_problem(problem);
  return meet_at(problem, problem.times.layers);
}

RestorePlan race(const RestoreProblem& problem) {
  RestorePlan best = reload_all(problem);
  double best_seconds = evaluate(best, problem).step_seconds;
  for (int meeting_layer = lowest_meeting_layer(problem) + 1; meeting_layer <= problem.times.layers; ++meeting_layer) {
    RestorePlan plan = meet_at(problem, meeting_layer);
    const double seconds = evaluate(plan, problem).step_seconds;
    if (seconds < best_seconds) {
      best = std::move(plan);
      best_seconds = seconds;
    }
  }
  return best;
}

}  // namespace alchemist
