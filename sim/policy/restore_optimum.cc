// The restore plan with the shortest step.
//
// Given the meeting layer m, the step is the longest path through two chains, the link's and compute's, that crosses
// from the link to compute at most once. Write phi_l for the share of gate and up that is reloaded, weighted with the
// layer's absent tokens, and P_i = sum of phi_l over l >= i (so P_L = 0 and P = P_0 is the total). A path that crosses
// between what the link has delivered when P_i is through and the compute that is left then takes
//     base_i + r_gu P_i - c (P - P_i),
// and the path that never crosses takes alpha - c P. So for a given total every path wants each P_i small: gate and up
// are best reloaded for the lowest layers, P_i = max(0, P - B_i) where B_i is what the layers below i can take. The
// step is then convex and piecewise linear in P alone, with slopes -c and +r_gu, and its minimum is a crossing of two
// lines or an end of a piece. Many choices of phi reach the same step; `spread_early` picks one.
#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "sim/base/check.h"
#include "sim/policy/restore_plan.h"

namespace alchemist {

namespace {

using restore_detail::lowest_meeting_layer;
using restore_detail::meet_at;
using restore_detail::rebuild_share;

struct Optimum {
  double step_seconds = std::numeric_limits<double>::infinity();
  double total = 0;  // P
};

class SharesOfGateUp {
 public:
  SharesOfGateUp(const RestoreProblem& problem, RestorePlan plan)
      : problem_(problem),
        plan_(std::move(plan)),
        layers_(plan_.layers.size()),
        link_seconds_(problem.times.reload_full - problem.times.reload_lean),
        rebuild_seconds_(problem.times.rebuild_gate_up) {
    set_room_below();
    set_paths();
  }

  Optimum solve() const;
  RestorePlan spread_early(const Optimum& optimum) const;

 private:
  bool reloaded(std::size_t layer) const { return plan_.layers[layer].source == LayerSource::reload; }
  double absent(std::size_t layer) const { return problem_.records[layer].absent_share; }
  // The most that phi_l may be.
  double room(std::size_t layer) const { return reloaded(layer) && problem_.gate_up_recorded ? absent(layer) : 0; }
  void set_room_below();
  void set_paths();

  const RestoreProblem& problem_;
  RestorePlan plan_;
  std::size_t layers_;
  double link_seconds_;             // r_gu
  double rebuild_seconds_;          // c
  std::vector<double> room_below_;  // B_i, i = 0..L
  double alpha_ = 0;
  std::vector<double> base_;  // by i = 0..L-1; minus infinity where no path crosses
};

void SharesOfGateUp::set_room_below() {
  room_below_.assign(layers_ + 1, 0);
  for (std::size_t layer = 0; layer < layers_; ++layer) room_below_[layer + 1] = room_below_[layer] + room(layer);
}

void SharesOfGateUp::set_paths() {
  const LayerTimes& times = problem_.times;
  const restore_detail::ForwardTimes forward = restore_detail::forward_times(plan_, problem_);
  std::vector<double> work_below(layers_ + 1, 0);  // rebuild of all of gate and up, and backward
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    const LayerSource source = plan_.layers[layer].source;
    const double rebuild = rebuild_share(problem_, static_cast<int>(layer), source) * rebuild_seconds_;
    work_below[layer + 1] = work_below[layer] + rebuild + times.backward;
  }
  const double first_lean = reloaded(layers_ - 1) ? forward.keys + absent(layers_ - 1) * times.reload_lean : 0;
  alpha_ = std::max(forward.end, first_lean) + restore_detail::head_seconds(plan_, problem_) + work_below[layers_];

  base_.assign(layers_, -std::numeric_limits<double>::infinity());
  double lean = forward.keys;  // delivered when lean records down to this layer are through
  for (std::size_t layer = layers_; layer-- > 0;) {
    if (!reloaded(layer)) continue;
    lean += absent(layer) * times.reload_lean;
    // All of this layer's delivery, then its backward.
    base_[layer] = std::max(base_[layer], lean + times.backward + work_below[layer]);
    // Its lean record, then its rebuild; gate and up of the layers above are through.
    if (layer + 1 < layers_) base_[layer + 1] = std::max(base_[layer + 1], lean + work_below[layer + 1]);
  }
}

Optimum SharesOfGateUp::solve() const {
  const double both = link_seconds_ + rebuild_seconds_;
  std::vector<double> flat(layers_);  // flat[k]: the largest of alpha and base_i, i > k
  double highest = alpha_;
  for (std::size_t k = layers_; k-- > 0;) {
    flat[k] = highest;
    highest = std::max(highest, base_[k]);
  }
  Optimum best;
  double rising = -std::numeric_limits<double>::infinity();  // the largest of base_i - both * B_i, i <= k
  for (std::size_t k = 0; k < layers_; ++k) {                // P in B_k..B_{k+1}
    rising = std::max(rising, base_[k] - both * room_below_[k]);
    const double crossing = both > 0 ? (flat[k] - rising) / both : room_below_[k + 1];
    const double total = std::clamp(crossing, room_below_[k], room_below_[k + 1]);
    const double seconds = std::max(flat[k] - rebuild_seconds_ * total, rising + link_seconds_ * total);
    if (seconds < best.step_seconds) best = {seconds, total};
  }
  return best;
}

// From the top each layer gets all that no path minds: P_i <= (T + c P - base_i) / (r_gu + c), for this and all lower
// i.
RestorePlan SharesOfGateUp::spread_early(const Optimum& optimum) const {
  const double both = link_seconds_ + rebuild_seconds_;
  std::vector<double> limit(layers_, optimum.total);
  double lowest = optimum.total;
  for (std::size_t i = 0; i < layers_ && both > 0; ++i) {
    lowest = std::min(lowest, (optimum.step_seconds + rebuild_seconds_ * optimum.total - base_[i]) / both);
    limit[i] = std::max(lowest, optimum.total - room_below_[i]);  // what lower layers cannot take must be taken here
  }
  RestorePlan plan = plan_;
  double through = 0;  // P_{l+1}
  for (std::size_t layer = layers_; layer-- > 0;) {
    if (!reloaded(layer)) continue;
    const double share = std::clamp(limit[layer] - through, 0.0, room(layer));
    plan.layers[layer].gate_up_share = room(layer) > 0 ? share / room(layer) : 0;
    through += share;
  }
  return plan;
}

}  // namespace

RestorePlan planned(const RestoreProblem& problem) {
  restore_detail::check_problem(problem);
  int meeting_layer = 0;
  Optimum best;
  for (int m = lowest_meeting_layer(problem); m <= problem.times.layers; ++m) {
    const Optimum optimum = SharesOfGateUp(problem, meet_at(problem, m)).solve();
    // Rounding must not decide between equal steps: less recomputing wins.
    if (optimum.step_seconds < best.step_seconds * (1 - 1e-12)) {
      best = optimum;
      meeting_layer = m;
    }
  }
  return SharesOfGateUp(problem, meet_at(problem, meeting_layer)).spread_early(best);
}

}  // namespace alchemist
