// How the activations of one training micro-batch come back before its backward: each layer from GPU memory, over the
// link, or by running its forward again. Pure functions of the times that an estimator believes.
//
// Two resources work at once. The link brings the keys and values to which tokens without a record attend, from the
// lowest layer up, and then delivers layer by layer from the last one down; of each layer the lean record first (all
// but gate and up, with the layer's output), then the share of gate and up that the plan wants. Compute is one
// resource: first all forward work (recomputed layers and tokens without a record) from layer 0 up, then the output
// head, then layer by layer from the last: rebuild what is missing of gate and up, then backward.
//
// That order is optimal for given sources: all compute tasks but the forward ones wait for a delivery or for a task
// that does, so running the forward first is running the earliest release first, which minimises the last completion
// on one machine under precedence (Lawler 1973).
#pragma once

#include <cstddef>
#include <vector>

namespace alchemist {

// Seconds for this micro-batch, equal for all its layers; none is negative, and reload_lean <= reload_full. Those of
// forward, reload, rebuild and output are for all tokens that have a record somewhere in the micro-batch; where only
// some of them need it, their share of the time is charged.
struct LayerTimes {
  int layers = 0;              // >= 1
  double forward = 0;          // recompute a layer from its input, producing all that backward needs
  double backward = 0;         // of one layer, of all tokens
  double reload_full = 0;      // bring a layer's whole record over the link
  double reload_lean = 0;      // the same without gate and up
  double rebuild_gate_up = 0;  // gate and up from the lean record: two matrix products
  double head = 0;             // forward and backward of output head and loss; needs the last layer's output
  double output = 0;           // that output, of recorded tokens with a target whose last layer is not run again
};

// Where one layer's record is.
struct LayerRecord {
  double absent_share = 1;  // in 0..1, of the tokens: those whose record of this layer is not in GPU memory
  bool on_host = true;      // theirs is on the host; otherwise it is nowhere and the layer must be recomputed
};

struct RestoreProblem {
  RestoreProblem(const LayerTimes& layer_times)  // implicit: every layer's record lies on the host
      : times(layer_times), records(static_cast<std::size_t>(layer_times.layers < 0 ? 0 : layer_times.layers)) {}

  LayerTimes times;
  std::vector<LayerRecord> records;  // by layer
  double fresh_forward = 0;      // seconds a layer: forward of tokens that have no record; backward waits for all of it
  double fresh_keys = 0;         // seconds a layer that is reloaded: the keys and values for that forward to come
  bool gate_up_recorded = true;  // false: records are lean, on the GPU as on the host
};

enum class LayerSource { resident, reload, recompute };

struct LayerPlan {
  LayerSource source = LayerSource::reload;
  // Reload only: of the reloaded tokens, those whose gate and up come too; for the rest they are rebuilt.
  double gate_up_share = 1;
  bool operator==(const LayerPlan&) const = default;
};

// Recomputing goes up from layer 0: a layer may be recomputed only if each layer below it is resident (a resident
// record is taken to hold the layer's output, where recomputing can start) or recomputed too.
struct RestorePlan {
  std::vector<LayerPlan> layers;
  bool operator==(const RestorePlan&) const = default;
};

// Seconds since the restore began.
struct LayerTimeline {
  double lean_ready = 0;  // lean record complete in GPU memory
  double ready = 0;       // and gate and up, as far as they are not rebuilt
  double backward_start = 0;
  double backward_end = 0;
};

struct RestoreTimeline {
  double step_seconds = 0;  // until backward of layer 0 is done
  double forward_busy = 0;  // recomputed and fresh forward
  double rebuild_busy = 0;  // gate and up
  double compute_busy = 0;  // all compute: also head and backward
  double link_busy = 0;
  double stall = 0;                   // compute waits for the link: step_seconds - compute_busy
  std::vector<LayerTimeline> layers;  // by layer
};

// The exact timeline of a plan; a plan that is impossible for the problem is a failed check.
RestoreTimeline evaluate(const RestorePlan& plan, const RestoreProblem& problem);

// All that can be reloaded is; only layers that are nowhere are recomputed, with those below them.
RestorePlan reload_all(const RestoreProblem& problem);

// All that is not resident is recomputed.
RestorePlan recompute_all(const RestoreProblem& problem);

// Whole layers from both ends: recomputing goes up from layer 0 to the meeting layer m, reloading comes down from the
// last. m is the best of all (of equal ones the smallest). Where every layer is on the host, nothing is fresh, r > b
// and the rounding of m is ignored,
//     m f + head + L b = (L - m) r + (m + 1) b, so m = (L (r - b) + b - head) / (f + r - b).
RestorePlan race(const RestoreProblem& problem);

// The shortest step over all meeting layers and all shares of gate and up of each layer, exactly; O(layers^2).
// Of equal steps the one with the smallest meeting layer, and then the earliest use of the link for gate and up, so
// that deliveries wait in GPU memory as shortly as possible. In the steady state of many layers the share is that at
// which link and compute keep pace: (b + c - r_lean) / (r_gate_up + c).
RestorePlan planned(const RestoreProblem& problem);

namespace restore_detail {

// A failed check if a time is negative or not finite, or a size does not fit.
void check_problem(const RestoreProblem& problem);

// The smallest meeting layer: one above the highest layer whose record is nowhere (0: none is).
int lowest_meeting_layer(const RestoreProblem& problem);

// Layers below `meeting_layer` recomputed, the others reloaded whole, resident ones left alone.
RestorePlan meet_at(const RestoreProblem& problem, int meeting_layer);

// Forward work from layer 0 up, each layer when its keys and values are there.
struct ForwardTimes {
  double end = 0;
  double busy = 0;                // end, but for what it waits
  double keys = 0;                // the link has brought the last of them
  std::vector<double> layer_end;  // by layer
};
ForwardTimes forward_times(const RestorePlan& plan, const RestoreProblem& problem);

// With the last layer's output where it comes from records.
double head_seconds(const RestorePlan& plan, const RestoreProblem& problem);

// Share of all recorded tokens whose gate and up must be rebuilt when none of them come over the link.
double rebuild_share(const RestoreProblem& problem, int layer, LayerSource source);

}  // namespace restore_detail

}  // namespace alchemist
