#include "sim/node/layer_traffic.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

LayerTraffic::LayerTraffic(Host& host, std::int32_t layers)
    : host_(host), layers_(layers), keys_to_(layers), arrived_to_(layers), next_backward_(layers - 1) {
  check(layers > 0, "there are layers");
}

void LayerTraffic::begin(std::int32_t window, std::vector<Bytes> records, Bytes fresh, Bytes keys,
                         std::int32_t keys_from, std::int32_t key_layers) {
  check(window > 0, "there is room for a layer");
  check(idle(), "the micro-batch before has no copy in flight");
  check(!records.empty(), "bytes for each layer");
  layers_ = static_cast<std::int32_t>(records.size());
  window_ = window;
  records_ = std::move(records);
  fresh_ = fresh;
  keys_ = keys;
  keys_to_ = keys == Bytes() ? layers_ : keys_from;
  key_layers_ = key_layers;
  next_forward_ = keys_from;
  forward_done_ = fresh == Bytes();
  arrived_to_ = layers_;
  next_backward_ = layers_ - 1;
  proceed();
}

void LayerTraffic::stop() {
  records_.assign(records_.size(), Bytes());
  fresh_ = Bytes();
  keys_to_ = layers_;
}

void LayerTraffic::on_forward(std::int32_t layer) {
  next_forward_ = std::max(next_forward_, layer + 1);
  if (leaves(layer)) { leaving_.emplace(host_.submit(CopyOp{LinkDirection::kDeviceToHost, fresh_, {}, layer}), layer); }
  if (layer == layers_ - 1) forward_done_ = true;
  proceed();
}

void LayerTraffic::on_backward(std::int32_t layer) {
  next_backward_ = layer;
  proceed();
}

bool LayerTraffic::on_copy_done(OpId op) {
  if (leaving_.erase(op) > 0) {
    proceed();
    return true;
  }
  if (keys_arriving_ == op) {
    keys_arriving_.reset();
    keys_to_ = std::min(layers_, keys_to_ + 1);
  } else if (arriving_ == op) {
    arriving_.reset();
    --arrived_to_;
  } else {
    return false;
  }
  proceed();
  return true;
}

// Fresh activations of `window_` layers are here at once, each layer's where those of `window_` layers before it were.
bool LayerTraffic::has_room(std::int32_t layer) const {
  return std::none_of(leaving_.begin(), leaving_.end(),
                      [&](const auto& copy) { return copy.second <= layer - window_; });
}

void LayerTraffic::proceed() {
  bring_keys();
  bring_activations();
}

void LayerTraffic::bring_keys() {
  if (keys_arriving_ || keys_to_ >= layers_ || keys_to_ - next_forward_ >= key_layers_) return;
  keys_arriving_ = host_.submit(CopyOp{LinkDirection::kHostToDevice, keys_, {}, keys_to_, true});
}

// Asks for the next layer from the last one down that has something to bring, as far ahead of backward as the window
// allows. What has not left yet cannot come back.
void LayerTraffic::bring_activations() {
  while (!arriving_ && arrived_to_ > 0) {
    const std::int32_t layer = arrived_to_ - 1;
    const bool left = leaves(layer);
    const Bytes bytes = records_[static_cast<std::size_t>(layer)] + (left ? fresh_ : Bytes());
    if (bytes == Bytes()) {
      --arrived_to_;
      continue;
    }
    if (next_backward_ - layer >= window_ || (left && !(forward_done_ && leaving_.empty()))) return;
    arriving_ = host_.submit(CopyOp{LinkDirection::kHostToDevice, bytes, {}, layer});
  }
}

}  // namespace alchemist
