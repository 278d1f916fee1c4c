#include "sim/engine/link.h"

#include <algorithm>
#include <cmath>

#include "sim/base/check.h"

namespace alchemist {

namespace {

constexpr std::int64_t kAmountPerByte = 1'000'000'000;
constexpr std::size_t kKinds = 2;  // of host memory
constexpr std::size_t kPinned = static_cast<std::size_t>(HostMemory::kPinned);
constexpr std::size_t kPageable = static_cast<std::size_t>(HostMemory::kPageable);

std::size_t stream_of(std::size_t direction, std::size_t memory) { return direction * kKinds + memory; }

// The quotient of two whole numbers, rounded up; a >= 0, b > 0.
template <class Whole>
Whole divide_up(Whole a, Whole b) {
  return (a + b - 1) / b;
}

// For a heap whose front is the next to end. Equal targets in any order: those that end together are sorted by id.
constexpr auto kEndsLater = [](const auto& a, const auto& b) { return a.target > b.target; };

}  // namespace

LinkSpec LinkSpec::from(const HardwareSpec& hardware) {
  return {.h2d_bandwidth = hardware.link_h2d_bandwidth,
          .d2h_bandwidth = hardware.link_d2h_bandwidth,
          .duplex_bandwidth = hardware.link_duplex_bandwidth,
          .pageable_bandwidth = hardware.link_pageable_bandwidth,
          .latency = hardware.link_latency,
          .slowdown = hardware.link_slowdown,
          .copy_slowdown = hardware.copy_slowdown,
          .host_memory = hardware.host_memory_pinned ? HostMemory::kPinned : HostMemory::kPageable};
}

Link::Link(const LinkSpec& spec) : latency_(spec.latency), capacity_{capacity(spec, 1), capacity(spec, spec.slowdown)} {
  check(spec.latency >= Duration(), "a link's latency is not negative");
}

Link::Capacity Link::capacity(const LinkSpec& spec, double divisor) {
  check(divisor >= 1 && std::isfinite(divisor), "kernels do not make copies faster");
  const auto rate = [divisor](double bandwidth) {
    check(bandwidth > 0, "a link's bandwidths are positive");
    return static_cast<Rate>(std::ceil(std::min(bandwidth, 1e15) / divisor));
  };
  Capacity capacity = {.direction = {rate(spec.h2d_bandwidth), rate(spec.d2h_bandwidth)},
                       .duplex = rate(spec.duplex_bandwidth),
                       .pageable = rate(spec.pageable_bandwidth)};
  const Amount both = capacity.direction[0] + capacity.direction[1];
  for (std::size_t d = 0; d < capacity.direction.size(); ++d) {
    const Amount product = static_cast<Amount>(capacity.duplex) * capacity.direction[d];
    capacity.duplex_part[d] = static_cast<Rate>(divide_up(product, both));
  }
  return capacity;
}

LinkDirection Link::direction_of(std::size_t stream) { return static_cast<LinkDirection>(stream / kKinds); }

TransferId Link::start(Time now, LinkDirection direction, Bytes bytes, HostMemory memory) {
  check(bytes >= Bytes(), "a transfer has no negative size");
  move_clock(now);
  const TransferId id = next_id_;
  next_id_ = TransferId(id.value() + 1);
  const std::size_t stream = stream_of(static_cast<std::size_t>(direction), static_cast<std::size_t>(memory));
  waiting_.push_back({.ready = now + latency_, .stream = stream, .id = id, .bytes = bytes, .start = now});
  Account& account = accounts_[static_cast<std::size_t>(direction)];
  account.started += bytes;
  ++account.in_flight;
  next_ = std::min(next_, waiting_.front().ready);
  return id;
}

void Link::set_kernels_running(Time now, bool running) {
  move_clock(now);
  if (running == kernels_running_) return;
  kernels_running_ = running;
  if (moving_ == 0) return;
  settle(now);
  update_rates();
  update_next_event();
}

void Link::advance(Time now, std::vector<FinishedTransfer>& finished) {
  check(now >= now_, "a link's time never goes back");
  while (next_ <= now && !idle()) {
    const Time event = next_;
    settle(event);
    begin_moving(event);  // before complete(): a transfer of no bytes ends here and now
    complete(event, finished);
    check_conservation();
    update_rates();
    update_next_event();
    check(next_ > event, "everything that is due at an event happens then");
  }
  now_ = now;
}

Duration Link::time_left(Time now) const {
  if (idle()) return Duration();
  const double elapsed_ns = static_cast<double>((now - settled_).count_ns());
  const Capacity& limit = capacity_[1];
  std::array<double, 2> left{};  // bytes
  double seconds = 0;
  for (std::size_t d = 0; d < left.size(); ++d) {
    left[d] = (accounts_[d].started - accounts_[d].finished).as_double();
    for (const std::size_t memory : {kPinned, kPageable}) {
      const Stream& stream = streams_[stream_of(d, memory)];
      const auto transfers = static_cast<double>(stream.heap.size());
      const double since = static_cast<double>(stream.rate) * elapsed_ns * transfers;
      left[d] -= (static_cast<double>(stream.delivered - stream.completed) + since) / kAmountPerByte;
    }
    seconds = std::max(seconds, left[d] / static_cast<double>(limit.direction[d]));
  }
  seconds = std::max(seconds, (left[0] + left[1]) / static_cast<double>(limit.duplex));
  const Duration moving = Duration::nanoseconds(static_cast<std::int64_t>(std::ceil(std::max(0.0, seconds) * 1e9)));
  return moving_ > 0 ? moving : waiting_.front().ready - now + moving;
}

void Link::move_clock(Time now) {
  check(now >= now_, "a link's time never goes back");
  check(now <= next_, "a link is advanced before it is changed");
  now_ = now;
}

// Counts the progress since the last change of rates.
void Link::settle(Time now) {
  const std::int64_t elapsed_ns = (now - settled_).count_ns();
  settled_ = now;
  for (Stream& stream : streams_) {
    if (stream.heap.empty()) continue;
    const Amount amount = static_cast<Amount>(stream.rate) * elapsed_ns;
    stream.served += amount;
    stream.delivered += amount * static_cast<std::int64_t>(stream.heap.size());
  }
}

void Link::begin_moving(Time now) {
  for (; !waiting_.empty() && waiting_.front().ready <= now; waiting_.pop_front()) {
    const Waiting& transfer = waiting_.front();
    Stream& stream = streams_[transfer.stream];
    const Amount target = stream.served + static_cast<Amount>(transfer.bytes.count()) * kAmountPerByte;
    stream.heap.push_back({.target = target, .id = transfer.id, .bytes = transfer.bytes, .start = transfer.start});
    std::push_heap(stream.heap.begin(), stream.heap.end(), kEndsLater);
    ++moving_;
  }
}

void Link::complete(Time now, std::vector<FinishedTransfer>& finished) {
  const std::size_t before = finished.size();
  for (std::size_t s = 0; s < streams_.size(); ++s) {
    Stream& stream = streams_[s];
    Account& account = accounts_[s / kKinds];
    while (!stream.heap.empty() && stream.heap.front().target <= stream.served) {
      const Moving& first = stream.heap.front();
      finished.push_back(
          {.id = first.id, .direction = direction_of(s), .bytes = first.bytes, .start = first.start, .end = now});
      account.finished += first.bytes;
      --account.in_flight;
      finish_first(stream);
    }
  }
  std::sort(finished.begin() + static_cast<std::ptrdiff_t>(before), finished.end(),
            [](const FinishedTransfer& a, const FinishedTransfer& b) { return a.id < b.id; });
}

// Takes out the transfer that ends, and out of what was delivered the excess that it got by rounding its end up.
void Link::finish_first(Stream& stream) {
  const Moving& first = stream.heap.front();
  const Amount excess = stream.served - first.target;
  const Capacity& widest = capacity_[0];
  check(excess <= *std::max_element(widest.direction.begin(), widest.direction.end()),
        "a transfer ends in the nanosecond of its last byte");
  stream.delivered -= excess;
  stream.completed += static_cast<Amount>(first.bytes.count()) * kAmountPerByte;
  std::pop_heap(stream.heap.begin(), stream.heap.end(), kEndsLater);
  stream.heap.pop_back();
  --moving_;
}

// What the rates have added up to is what the transfers that have ended were to carry, to the last 10^-9 byte.
void Link::check_conservation() const {
  for (const Stream& stream : streams_) {
    check(stream.heap.empty() ? stream.delivered == stream.completed : stream.delivered >= stream.completed,
          "a link delivers the bytes that were started");
  }
  if (!idle()) return;
  for (const Account& account : accounts_) {
    check(account.started == account.finished && account.in_flight == 0, "an idle link has finished what was started");
  }
}

void Link::update_rates() {
  const Capacity& limit = capacity_[kernels_running_ ? 1 : 0];
  std::array<Rate, 2> wanted{};  // what a direction can use if it has the link to itself
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    const bool pinned = !streams_[stream_of(d, kPinned)].heap.empty();
    const Amount pageable = static_cast<Amount>(streams_[stream_of(d, kPageable)].heap.size()) * limit.pageable;
    wanted[d] = pinned || pageable >= limit.direction[d] ? limit.direction[d] : static_cast<Rate>(pageable);
  }
  if (wanted[0] > 0 && wanted[1] > 0 && wanted[0] + wanted[1] > limit.duplex) {
    const auto part = [&](std::size_t d) {
      return std::min(std::max(limit.duplex_part[d], limit.duplex - wanted[1 - d]), wanted[d]);
    };
    wanted = {part(0), part(1)};
  }
  for (std::size_t d = 0; d < wanted.size(); ++d) split_direction(d, wanted[d], limit.pageable);
}

// Max-min fair shares of `total` among the transfers of a direction, of which a pageable one gets at most `cap`.
void Link::split_direction(std::size_t direction, Rate total, Rate cap) {
  Stream& pinned = streams_[stream_of(direction, kPinned)];
  Stream& pageable = streams_[stream_of(direction, kPageable)];
  const auto pinned_count = static_cast<std::int64_t>(pinned.heap.size());
  const auto pageable_count = static_cast<std::int64_t>(pageable.heap.size());
  if (pinned_count + pageable_count == 0) return;
  const Rate even = divide_up(total, pinned_count + pageable_count);
  pageable.rate = std::min(even, cap);
  pinned.rate = even;
  // No overflow: all of them at `cap` need less than `total`.
  if (cap < even && pinned_count > 0) pinned.rate = divide_up(total - cap * pageable_count, pinned_count);
}

void Link::update_next_event() {
  next_ = waiting_.empty() ? Time::max() : waiting_.front().ready;
  for (const Stream& stream : streams_) {
    if (stream.heap.empty()) continue;
    const Amount left = std::max<Amount>(0, stream.heap.front().target - stream.served);
    const Amount wait_ns = divide_up<Amount>(left, stream.rate);
    check(wait_ns < (Time::max() - settled_).count_ns(), "a transfer ends within the range of time");
    next_ = std::min(next_, settled_ + Duration::nanoseconds(static_cast<std::int64_t>(wait_ns)));
  }
}

}  // namespace alchemist
