#include "sim/node/layer_traffic.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

LayerTraffic::LayerTraffic(Host& host, const Estimator& estimator, std::int32_t layers)
    : host_(host),
      estimator_(estimator),
      layers_(layers),
      keys_to_(layers),
      arrived_to_(layers),
      next_backward_(layers - 1) {
  check(layers > 0, "there are layers");
}

void LayerTraffic::begin(Time now, std::int32_t window, std::vector<Bytes> records, Bytes fresh, Bytes keys,
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
  proceed(now);
}

void LayerTraffic::stop() {
  records_.assign(records_.size(), Bytes());
  fresh_ = Bytes();
  keys_to_ = layers_;
}

void LayerTraffic::on_forward(Time now, std::int32_t layer) {
  next_forward_ = std::max(next_forward_, layer + 1);
  if (leaves(layer)) { leaving_.emplace(submit(now, CopyOp{LinkDirection::kDeviceToHost, fresh_, {}, layer}), layer); }
  if (layer == layers_ - 1) forward_done_ = true;
  proceed(now);
}

void LayerTraffic::on_backward(Time now, std::int32_t layer) {
  next_backward_ = layer;
  proceed(now);
}

bool LayerTraffic::on_copy_done(Time now, OpId op) {
  if (leaving_.erase(op) > 0) {
    going_.on_done(now);
    proceed(now);
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
  coming_.on_done(now);
  proceed(now);
  return true;
}

// Fresh activations of `window_` layers are here at once, each layer's where those of `window_` layers before it were.
bool LayerTraffic::has_room(std::int32_t layer) const {
  return std::none_of(leaving_.begin(), leaving_.end(),
                      [&](const auto& copy) { return copy.second <= layer - window_; });
}

OpId LayerTraffic::submit(Time now, const CopyOp& copy) {
  CopyPace& pace = copy.direction == LinkDirection::kHostToDevice ? coming_ : going_;
  pace.on_submit(now, estimator_.copy(copy.direction, copy.bytes));
  return host_.submit(copy);
}

void LayerTraffic::proceed(Time now) {
  bring_keys(now);
  bring_activations(now);
}

void LayerTraffic::bring_keys(Time now) {
  if (keys_arriving_ || keys_to_ >= layers_ || keys_to_ - next_forward_ >= key_layers_) return;
  keys_arriving_ = submit(now, CopyOp{LinkDirection::kHostToDevice, keys_, {}, keys_to_, true});
}

// Asks for the next layer from the last one down that has something to bring, as far ahead of backward as the window
// allows. What has not left yet cannot come back.
void LayerTraffic::bring_activations(Time now) {
  while (!arriving_ && arrived_to_ > 0) {
    const std::int32_t layer = arrived_to_ - 1;
    const bool left = leaves(layer);
    const Bytes bytes = records_[static_cast<std::size_t>(layer)] + (left ? fresh_ : Bytes());
    if (bytes == Bytes()) {
      --arrived_to_;
      continue;
    }
    if (next_backward_ - layer >= window_ || (left && !(forward_done_ && leaving_.empty()))) return;
    arriving_ = submit(now, CopyOp{LinkDirection::kHostToDevice, bytes, {}, layer});
  }
}

}  // namespace alchemist
