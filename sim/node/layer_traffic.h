// What one micro-batch moves over the link, a layer at a time: fresh activations leave while forward goes up (if the
// policy offloads them), keys and values of tokens on the host come ahead of it, and fresh activations and records come
// back while backward comes down.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/ids.h"
#include "sim/node/copy_pace.h"
#include "sim/node/host.h"
#include "sim/policy/estimator.h"

namespace alchemist {

class LayerTraffic {
 public:
  // `host` and `estimator` outlive the traffic.
  LayerTraffic(Host& host, const Estimator& estimator, std::int32_t layers);

  // A micro-batch begins. `window` >= 1: layers that may be on the GPU ahead of backward, or behind forward. `records`:
  // bytes of records that come back, by layer, of all that it goes through. `fresh`: bytes of fresh activations of each
  // layer that leave and come back, all but the last `window` ones; zero if they stay. `keys`: bytes of keys and values
  // that the forward of each layer from `keys_from` on waits for, of `key_layers` layers at once; zero if it needs
  // none.
  void begin(Time now, std::int32_t window, std::vector<Bytes> records, Bytes fresh, Bytes keys = Bytes(),
             std::int32_t keys_from = 0, std::int32_t key_layers = 1);
  // Forward of a layer is done, in order from layer 0.
  void on_forward(Time now, std::int32_t layer);
  // Backward of this layer is the next.
  void on_backward(Time now, std::int32_t layer);
  // True if the completion answers a copy of this traffic.
  bool on_copy_done(Time now, OpId op);
  // No copy is submitted any more until the next begin().
  void stop();
  // No copy is under way.
  bool idle() const { return !arriving_ && !keys_arriving_ && leaving_.empty(); }

  // The forward of this layer may run: activations whose place its own take have left, and its keys are here.
  bool has_room(std::int32_t layer) const;
  bool keys_are_here(std::int32_t layer) const { return layer < keys_to_; }
  // What copies of this traffic have taken of late.
  const CopyPace& pace(LinkDirection direction) const {
    return direction == LinkDirection::kHostToDevice ? coming_ : going_;
  }
  // Everything that comes over the link for this layer is there.
  bool is_here(std::int32_t layer) const { return layer >= arrived_to_; }

 private:
  // Fresh activations of this layer go to the host.
  bool leaves(std::int32_t layer) const { return fresh_ > Bytes() && layer < layers_ - window_; }
  void proceed(Time now);
  void bring_keys(Time now);
  void bring_activations(Time now);
  OpId submit(Time now, const CopyOp& copy);

  Host& host_;
  const Estimator& estimator_;
  std::int32_t layers_;  // of the micro-batch
  std::int32_t window_ = 1;
  std::vector<Bytes> records_;
  Bytes fresh_;
  Bytes keys_;
  std::int32_t key_layers_ = 1;
  std::int32_t keys_to_;           // the keys of layers below this are here
  std::int32_t next_forward_ = 0;  // layers below this are through, or need no keys
  std::int32_t arrived_to_;        // layers at or above this are here
  std::int32_t next_backward_;
  bool forward_done_ = false;          // of fresh tokens
  std::optional<OpId> arriving_;       // one layer at a time: sharing the link would only delay the one needed first
  std::optional<OpId> keys_arriving_;  // beside it: they are a few per cent of a layer, and wait for none
  std::unordered_map<OpId, std::int32_t> leaving_;  // with their layer
  CopyPace coming_, going_;
};

}  // namespace alchemist
