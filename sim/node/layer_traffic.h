// What one micro-batch moves over the link, a layer at a time: fresh activations leave while forward goes up (if the
// policy offloads them), and they and the records on the host come back while backward comes down.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/ids.h"
#include "sim/node/host.h"

namespace alchemist {

class LayerTraffic {
 public:
  // `host` outlives the traffic.
  LayerTraffic(Host& host, std::int32_t layers);

  // A micro-batch begins. `window` >= 1: layers that may be on the GPU ahead of backward, or behind forward. `records`:
  // bytes of records that come back, by layer, of all that it goes through. `fresh`: bytes of fresh activations of each
  // layer that leave and come back, all but the last `window` ones; zero if they stay.
  void begin(std::int32_t window, std::vector<Bytes> records, Bytes fresh);
  // Forward of a layer of fresh tokens is done, in order from layer 0.
  void on_fresh_layer(std::int32_t layer);
  // Backward of this layer is the next.
  void on_backward(std::int32_t layer);
  // True if the completion answers a copy of this traffic.
  bool on_copy_done(OpId op);
  // No copy is submitted any more until the next begin().
  void stop();
  // No copy is under way.
  bool idle() const { return !arriving_ && leaving_.empty(); }

  // The fresh activations of this layer may be computed: those whose place they take have left.
  bool has_room(std::int32_t layer) const;
  // Fresh activations of this layer go to the host.
  bool leaves(std::int32_t layer) const { return fresh_ > Bytes() && layer < layers_ - window_; }
  // Fresh activations of no layer are on their way to the host.
  bool has_left() const { return leaving_.empty(); }
  // Everything that comes over the link for this layer is there.
  bool is_here(std::int32_t layer) const { return layer >= arrived_to_; }

 private:
  void proceed();

  Host& host_;
  std::int32_t layers_;  // of the micro-batch
  std::int32_t window_ = 1;
  std::vector<Bytes> records_;
  Bytes fresh_;
  std::int32_t arrived_to_;  // layers at or above this are here
  std::int32_t next_backward_;
  bool forward_done_ = false;     // of fresh tokens
  std::optional<OpId> arriving_;  // one layer at a time: sharing the link would only delay the one needed first
  std::unordered_map<OpId, std::int32_t> leaving_;  // with their layer
};

}  // namespace alchemist
