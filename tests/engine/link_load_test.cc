// The link under random loads: against a model that goes nanosecond by nanosecond, against queueing theory, and against
// itself driven in other ways.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/base/random.h"
#include "sim/engine/link.h"
#include "tests/times.h"

namespace alchemist {
namespace {

// What happens to a link from outside: a transfer starts or, without bytes, kernels start or stop.
struct Action {
  std::int64_t time_ns = 0;
  std::optional<Bytes> bytes;
  LinkDirection direction = LinkDirection::kHostToDevice;
  HostMemory memory = HostMemory::kPinned;
  bool kernels = false;
};

LinkSpec random_spec(RandomStream& random) {
  const auto rate = [&random] { return static_cast<double>(random.uniform_int(500'000'000, 9'000'000'000)); };
  return {.h2d_bandwidth = rate(),
          .d2h_bandwidth = rate(),
          .duplex_bandwidth = rate() * 1.5,
          .pageable_bandwidth = rate() / 3,
          .latency = Duration::nanoseconds(random.uniform_int(0, 60)),
          .slowdown = 1 + random.uniform()};
}

// Busy enough for a dozen transfers at once, with lulls, transfers of no bytes and several actions at one time.
std::vector<Action> random_actions(RandomStream& random, int count) {
  std::vector<Action> actions;
  std::int64_t now = 0;
  for (int i = 0; i < count; ++i) {
    now += random.uniform() < 0.3 ? 0 : random.uniform_int(0, random.uniform() < 0.1 ? 4000 : 120);
    Action action;
    action.time_ns = now;
    if (random.uniform() < 0.25) {
      action.kernels = random.uniform() < 0.5;
    } else {
      action.bytes = Bytes(random.uniform() < 0.05 ? 0 : random.uniform_int(1, random.uniform() < 0.2 ? 3000 : 200));
      action.direction = random.uniform() < 0.5 ? LinkDirection::kHostToDevice : LinkDirection::kDeviceToHost;
      action.memory = random.uniform() < 0.7 ? HostMemory::kPinned : HostMemory::kPageable;
    }
    actions.push_back(action);
  }
  return actions;
}

void apply(const Action& action, Link& link) {
  if (action.bytes) {
    link.start(at_ns(action.time_ns), action.direction, *action.bytes, action.memory);
  } else {
    link.set_kernels_running(at_ns(action.time_ns), action.kernels);
  }
}

// Advances to each action and, while `looks` > 0, to about as many random times for each action.
std::vector<FinishedTransfer> drive(Link& link, const std::vector<Action>& actions, double looks,
                                    RandomStream& random) {
  std::vector<FinishedTransfer> finished;
  std::int64_t now = 0;
  for (const Action& action : actions) {
    for (double left = looks; random.uniform() < left && now < action.time_ns; left -= 1) {
      now = random.uniform_int(now, action.time_ns);
      link.advance(at_ns(now), finished);
    }
    now = action.time_ns;
    link.advance(at_ns(now), finished);
    apply(action, link);
  }
  while (!link.idle()) {
    now = std::max(now, looks > 0 ? now + random.uniform_int(0, 40) : link.next_event().count_ns());
    link.advance(at_ns(now), finished);
  }
  return finished;
}

// The same link in steps of a nanosecond and in floating point; shares are found by filling, not by formula.
class SteppedLink {
 public:
  explicit SteppedLink(const LinkSpec& spec) : spec_(spec) {}

  void apply(const Action& action) {
    if (!action.bytes) {
      kernels_ = action.kernels;
      return;
    }
    flows_.push_back({next_id_++, action, action.time_ns + spec_.latency.count_ns(), action.bytes->as_double(), 0});
  }

  // From `now` to `now` + 1 ns; returns what has ended at `now`.
  std::vector<std::uint64_t> step(std::int64_t now) {
    std::vector<std::uint64_t> ended;
    std::erase_if(flows_, [&](const Flow& flow) {
      const bool over = now >= flow.ready && flow.left <= 1e-5;
      if (over) ended.push_back(flow.id);
      return over;
    });
    share(now);
    for (Flow& flow : flows_) flow.left -= flow.rate / (kernels_ ? spec_.slowdown : 1);
    return ended;
  }

  bool idle() const { return flows_.empty(); }

 private:
  struct Flow {
    std::uint64_t id;
    Action action;
    std::int64_t ready;
    double left;
    double rate;
  };
  struct Claim {
    double weight;
    double most;
    double* share;
  };

  // Gives every claim its part by weight; those that cannot use it keep what they can, and the others divide again.
  static void fill(double total, std::vector<Claim> claims) {
    while (!claims.empty()) {
      double weights = 0;
      for (const Claim& claim : claims) weights += claim.weight;
      const auto content = std::find_if(claims.begin(), claims.end(), [&](const Claim& claim) {
        return claim.most <= total * claim.weight / weights;
      });
      if (content == claims.end()) {
        for (const Claim& claim : claims) *claim.share = total * claim.weight / weights;
        return;
      }
      *content->share = content->most;
      total -= content->most;
      claims.erase(content);
    }
  }

  void share(std::int64_t now) {
    double part[2] = {0, 0};
    double wanted[2] = {0, 0};
    std::vector<Claim> flows[2];
    const double own[2] = {spec_.h2d_bandwidth * 1e-9, spec_.d2h_bandwidth * 1e-9};
    for (Flow& flow : flows_) {
      flow.rate = 0;
      if (flow.ready > now) continue;
      const auto d = static_cast<std::size_t>(flow.action.direction);
      const double most = flow.action.memory == HostMemory::kPageable ? spec_.pageable_bandwidth * 1e-9 : own[d];
      flows[d].push_back({1, most, &flow.rate});
      wanted[d] = std::min(own[d], wanted[d] + most);
    }
    const bool duplex = !flows[0].empty() && !flows[1].empty();
    fill(duplex ? spec_.duplex_bandwidth * 1e-9 : std::numeric_limits<double>::max(),
         {{own[0], wanted[0], &part[0]}, {own[1], wanted[1], &part[1]}});
    for (std::size_t d = 0; d < 2; ++d) fill(part[d], flows[d]);
  }

  LinkSpec spec_;
  bool kernels_ = false;
  std::uint64_t next_id_ = 0;
  std::vector<Flow> flows_;
};

std::vector<std::pair<std::uint64_t, std::int64_t>> drive_stepped(const LinkSpec& spec,
                                                                  const std::vector<Action>& actions) {
  SteppedLink link(spec);
  std::vector<std::pair<std::uint64_t, std::int64_t>> ends;
  std::size_t next = 0;
  for (std::int64_t now = 0; next < actions.size() || !link.idle(); ++now) {
    while (next < actions.size() && actions[next].time_ns == now) link.apply(actions[next++]);
    for (std::uint64_t id : link.step(now)) ends.emplace_back(id, now);
  }
  return ends;
}

TEST(LinkLoad, SameAsSteppingByNanoseconds) {
  RandomStream random(1, "link");
  for (int round = 0; round < 60; ++round) {
    const LinkSpec spec = random_spec(random);
    const std::vector<Action> actions = random_actions(random, 60);
    Link link(spec);
    std::vector<std::pair<std::uint64_t, std::int64_t>> ends;
    for (const FinishedTransfer& transfer : drive(link, actions, 0, random))
      ends.emplace_back(transfer.id.value(), transfer.end.count_ns());
    EXPECT_EQ(ends, drive_stepped(spec, actions)) << "round " << round;
  }
}

TEST(LinkLoad, DoesNotDependOnHowOftenItIsAdvanced) {
  RandomStream random(2, "link");
  for (int round = 0; round < 100; ++round) {
    const LinkSpec spec = random_spec(random);
    const std::vector<Action> actions = random_actions(random, 200);
    Link by_event(spec);
    Link often(spec);
    Link seldom(spec);
    const std::vector<FinishedTransfer> expected = drive(by_event, actions, 0, random);
    EXPECT_EQ(drive(often, actions, 6, random), expected) << "round " << round;
    EXPECT_EQ(drive(seldom, actions, 0.3, random), expected) << "round " << round;
  }
}

// Every transfer ends once, with its bytes and not before its latency and its bytes at full speed are over; the ends
// are in order; by no end has a direction carried more than its bandwidth allows.
TEST(LinkLoad, ConservesBytesAndCapacity) {
  RandomStream random(3, "link");
  for (int round = 0; round < 100; ++round) {
    const LinkSpec spec = random_spec(random);
    const std::vector<Action> actions = random_actions(random, 200);
    std::vector<Action> starts;
    std::copy_if(actions.begin(), actions.end(), std::back_inserter(starts), [](const Action& a) { return a.bytes; });
    Link link(spec);
    const std::vector<FinishedTransfer> finished = drive(link, actions, 1, random);
    ASSERT_EQ(finished.size(), starts.size());
    std::map<LinkDirection, Bytes> sums;
    std::vector<bool> seen(starts.size());
    for (std::size_t i = 0; i < finished.size(); ++i) {
      const FinishedTransfer& transfer = finished[i];
      const Action& start = starts.at(transfer.id.value());
      EXPECT_FALSE(seen[transfer.id.value()]);
      seen[transfer.id.value()] = true;
      EXPECT_EQ(std::tuple(transfer.bytes, transfer.direction, transfer.start),
                std::tuple(*start.bytes, start.direction, at_ns(start.time_ns)));
      const bool in = transfer.direction == LinkDirection::kHostToDevice;
      const double bandwidth = in ? spec.h2d_bandwidth : spec.d2h_bandwidth;
      EXPECT_GE((transfer.end - transfer.start - spec.latency).in_seconds() + 1e-12,
                transfer.bytes.as_double() / bandwidth);
      if (i > 0) {
        EXPECT_LT(std::tuple(finished[i - 1].end, finished[i - 1].id), std::tuple(transfer.end, transfer.id));
      }
      sums[transfer.direction] += transfer.bytes;
      EXPECT_LE(sums[transfer.direction].as_double(), bandwidth * transfer.end.in_seconds() + 1e-3);
    }
    for (const LinkDirection direction : {LinkDirection::kHostToDevice, LinkDirection::kDeviceToHost}) {
      EXPECT_EQ(link.started_bytes(direction), sums[direction]);
      EXPECT_EQ(link.finished_bytes(direction), sums[direction]);
      EXPECT_EQ(link.in_flight_bytes(direction), Bytes());
      EXPECT_FALSE(link.busy(direction));
    }
  }
}

// A fair share among those present is processor sharing: with Poisson arrivals the mean time in flight is
// E[S] / (1 - load) whatever the distribution of sizes (Kleinrock, Queueing Systems II, 4.4). At 1 byte/ns, sizes of
// 0.1 MB (9 of 10) and 1.9 MB, E[S] = 0.28 ms; at load 0.5 that is 0.56 ms. First come first served would have
// (Pollaczek-Khinchine) 0.28 + 0.5 * E[S^2] / (2 * 0.28 * 0.5) = 0.28 + 0.5 * 0.37 / 0.28 = 0.94 ms.
TEST(LinkLoad, MeanTimeOfProcessorSharing) {
  RandomStream random(4, "link");
  Link link({.h2d_bandwidth = 1e9,
             .d2h_bandwidth = 1e9,
             .duplex_bandwidth = 2e9,
             .pageable_bandwidth = 1e9,
             .latency = Duration(),
             .slowdown = 1});
  constexpr int kTransfers = 200'000;
  std::vector<FinishedTransfer> finished;
  double now_ns = 0;
  for (int i = 0; i < kTransfers; ++i) {
    now_ns += random.exponential(280'000 / 0.5);
    const Time now = at_ns(std::llround(now_ns));
    link.advance(now, finished);
    link.start(now, LinkDirection::kHostToDevice, Bytes(random.uniform() < 0.9 ? 100'000 : 1'900'000),
               HostMemory::kPinned);
  }
  while (!link.idle()) link.advance(link.next_event(), finished);
  ASSERT_EQ(finished.size(), static_cast<std::size_t>(kTransfers));
  double sum_ms = 0;
  for (const FinishedTransfer& transfer : finished) sum_ms += (transfer.end - transfer.start).in_milliseconds();
  EXPECT_NEAR(sum_ms / kTransfers, 0.56, 0.56 * 0.02);
}

}  // namespace
}  // namespace alchemist
