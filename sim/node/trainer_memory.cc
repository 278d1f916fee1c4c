// Memory that a micro-batch takes while it is worked on, on the GPU and on the host.
#include <algorithm>
#include <tuple>
#include <utility>

#include "sim/base/check.h"
#include "sim/node/trainer.h"

namespace alchemist {

// GPU memory for what is there at once of the activations of tokens that go to the host or come from it.
Bytes Trainer::window_bytes(std::int64_t tokens) const {
  return Bytes(config_.bytes.minimal.count() / config_.layers) * tokens * std::min(config_.layers, window_);
}

// Keys and values of one layer.
Bytes Trainer::key_bytes(std::int64_t tokens) const {
  return Bytes((config_.bytes.keys_and_values * tokens).count() / config_.layers);
}

// Of so many layers keys and values are there at once, ahead of a forward that attends to tokens on the host. At least
// two, so that those of the next layer come while a layer runs; more than the most hide no more.
std::int32_t Trainer::most_key_layers() const {
  constexpr std::int32_t kLeast = 2, kMost = 8;
  return std::min(std::clamp(window_, kLeast, kMost), config_.layers);
}

std::int32_t Trainer::key_layers() const {
  const MicroBatch& batch = micro_batches_.front();
  if (!batch.forward_needs_keys(layers_to_go() - 1)) return 0;
  return std::min(most_key_layers(), layers_to_go() - batch.recompute_below);
}

// GPU memory for the activations of tokens without a record, at least.
Bytes Trainer::fresh_bytes(std::int64_t tokens) const {
  const Bytes layer(config_.bytes.minimal.count() / config_.layers);
  switch (policy_.fresh) {
    case FreshActivations::kKeep:
      return config_.bytes.minimal * tokens;
    case FreshActivations::kCheckpoint:
      return config_.bytes.input * tokens + layer * tokens;
    case FreshActivations::kOffload:
    case FreshActivations::kSpill:
      return window_bytes(tokens);
  }
  return Bytes();
}

// Host memory for them: of the layers that leave.
Bytes Trainer::fresh_host_bytes(std::int64_t tokens) const {
  if (policy_.fresh != FreshActivations::kOffload && policy_.fresh != FreshActivations::kSpill) return Bytes();
  const Bytes layer(config_.bytes.minimal.count() / config_.layers);
  return layer * tokens * std::max(0, config_.layers - window_);
}

std::int32_t Trainer::pages_needed() const {
  const MicroBatch& batch = micro_batches_.front();
  const Bytes layer_bytes(config_.bytes.minimal.count() / config_.layers);
  Bytes bytes = offloads_ ? fresh_bytes(batch.fresh) : layer_bytes * batch.fresh * layers_to_go();
  if (policy_.fresh == FreshActivations::kCheckpoint) bytes = fresh_bytes(batch.fresh);
  bytes += layer_bytes * batch.host * std::min(layers_to_go(), window_ + batch.recompute_below);
  bytes += key_bytes(batch.host) * key_layers();
  // One sample that is longer than a micro-batch should be.
  bytes += config_.working_per_token * std::max<std::int64_t>(0, batch.tokens - config_.reserved_tokens);
  return static_cast<std::int32_t>((bytes + config_.page_bytes - Bytes(1)) / config_.page_bytes);
}

// A layer's copies take at most so many times as long as computing it.
bool Trainer::link_keeps_up(double times) const {
  const MicroBatch& batch = micro_batches_.front();
  const auto keeps_up = [&](PieceKind kind, std::int64_t computed, LinkDirection direction, std::int64_t copied) {
    if (copied == 0) return true;
    TrainingPiece piece;
    piece.kind = kind;
    piece.tokens = computed;
    piece.layer = batch.recompute_below;  // forward: of fresh tokens alone
    piece.attended_keys = batch.keys_of(piece);
    const Bytes layer((config_.bytes.minimal * copied).count() / config_.layers);
    const double copy_seconds = traffic_.pace(direction).factor() * estimator_.copy(direction, layer).in_seconds();
    return copy_seconds <= times * estimator_.piece(piece).in_seconds();
  };
  return keeps_up(PieceKind::kForward, batch.fresh, LinkDirection::kDeviceToHost, batch.fresh) &&
         keeps_up(PieceKind::kBackward, batch.tokens, LinkDirection::kHostToDevice, batch.fresh + batch.host);
}

// Serving computes noticeably more of its prompts where records have what they have and the micro-batch so much.
bool Trainer::is_missed(std::int32_t pages) const {
  const auto held = static_cast<std::int32_t>(pages_.size());
  return pool_.are_missed(store_.pages() + held, pages - held, policy_.stretch);
}

// Where the memory that a micro-batch would like to have is missed by serving, it makes do with less, as long as it
// does not wait for the link because of that: at the pace that serving has left for training lately, and with one layer
// after the other only if between most pieces serving runs, for as long as the copies take.
void Trainer::choose_memory() {
  constexpr double kSeldom = 0.25;
  const MicroBatch& batch = micro_batches_.front();
  window_ = config_.window_layers;
  offloads_ = policy_.fresh == FreshActivations::kOffload && batch.fresh > 0;
  if (policy_.fresh == FreshActivations::kSpill && batch.fresh > 0) {
    const std::int32_t kept = pages_needed();
    const bool fits = kept <= pool_.free() + static_cast<std::int32_t>(pages_.size());
    offloads_ = !fits || (is_missed(kept) && link_keeps_up(pace_.factor()));
    const Bytes to_host = fresh_host_bytes(batch.fresh);
    if (to_host > store_.host_capacity() || (fits && store_.lacks_host(to_host, host_bytes_) > Bytes()))
      offloads_ = false;
  }
  if ((!offloads_ && batch.host == 0) || pace_.following() > kSeldom) return;
  while (window_ > 1 && is_missed(pages_needed()) && link_keeps_up(pace_.factor() - 1)) {
    const std::int32_t larger = std::exchange(window_, window_ / 2);
    if (!offloads_ || store_.lacks_host(fresh_host_bytes(batch.fresh), host_bytes_) <= Bytes()) continue;
    window_ = larger;
    return;
  }
}

// Serving leaves far less to training than was thought when the micro-batch began, which so holds memory for longer
// than that was worth, and would take half of it or less if it began now. What it has computed since is little, then.
// Asked when a layer has ended, which is when a micro-batch can stop.
bool Trainer::could_do_with_less(Time now) {
  constexpr double kSlow = 64, kSlower = 2;
  if (!std::exchange(at_new_layer_, false) || !micro_batch_begun_ || !may_stop() || !traffic_.idle()) return false;
  const double pace = pace_.so_far(now);
  if (pace < std::max(kSlow, kSlower * pace_.factor()) || !is_missed(static_cast<std::int32_t>(pages_.size())))
    return false;
  pace_.learn(pace);
  const auto chosen = std::pair(offloads_, window_);
  choose_memory();
  if (2 * pages_needed() <= static_cast<std::int32_t>(pages_.size())) return true;
  std::tie(offloads_, window_) = chosen;
  return false;
}

bool Trainer::take_memory(Time now, bool alone) {
  const std::int32_t pages = pages_needed();
  check(pages <= pool_.total(), "a micro-batch fits the memory");
  keep_pages(pages);
  const std::int32_t more = pages - static_cast<std::int32_t>(pages_.size());
  // Records give way to serving as soon as it needs their memory; a micro-batch would have to begin again.
  const std::int32_t spare = alone ? 0 : std::min(spare_, pool_.total() - pages);
  if (pool_.free() + store_.pages() < more + spare) {
    keep_pages(0);
    return false;
  }
  const Bytes host_bytes = offloads_ ? fresh_host_bytes(micro_batches_.front().fresh) : Bytes();
  if ((pool_.free() < more && !store_.make_room(now, more)) || !store_.take_host(now, host_bytes)) {
    keep_pages(0);
    return false;
  }
  host_bytes_ = host_bytes;
  pool_.allocate(more, pages_);
  return true;
}

// Serving that had to take the memory back once will do so again: more is left to it from then on, until micro-batches
// get through.
void Trainer::give_way(std::int32_t blocks) {
  if (pages_.empty() || giving_way_) return;
  spare_ = std::max(blocks, 2 * spare_);
  giving_way_ = true;
  traffic_.stop();
  stop_if_possible();
}

// Gradients of a head or a layer that is half done are in the weights' already.
bool Trainer::may_stop() const { return !micro_batch_begun_ || phase_ < Phase::kHead || done_ == 0; }

void Trainer::stop_if_possible() {
  if (piece_outstanding_ || !traffic_.idle() || !may_stop()) return;
  giving_way_ = false;
  keep_pages(0);
  if (!std::exchange(micro_batch_begun_, false)) return;
  ++totals_.preemptions;
  MicroBatch& batch = micro_batches_.front();
  if (phase_ == Phase::kBackward) batch.resumes_below = layer_ + 1;
  done_ = 0;
  end_on_host();
  store_.put_back(batch.records);
}

// The host is told first: what the store may hand out again must be free there.
void Trainer::end_on_host() {
  host_.end_micro_batch();
  store_.give_host(std::exchange(host_bytes_, Bytes()));
}

// Gives back what is more.
void Trainer::keep_pages(std::int32_t most) {
  if (static_cast<std::int32_t>(pages_.size()) <= most) return;
  pool_.release_first(std::span(pages_).subspan(static_cast<std::size_t>(most)));
  pages_.resize(static_cast<std::size_t>(most));
}

}  // namespace alchemist
