// The link between the GPUs of one replica and their host's memory as a fluid: the transfers in flight share it, and it
// says when its next event is. A transfer of B bytes takes a fixed latency and then flows; alone it reaches
//   B / (latency + B / bandwidth),
// which is how small transfers come to be inefficient (Hockney 1994: half the bandwidth at latency * bandwidth bytes).
//
// How the transfers past their latency share:
// - Those of one direction have equal shares, but a pageable one moves at most at pageable_bandwidth; what it leaves
//   goes to the pinned ones (max-min fairness).
// - If the two directions together want more than duplex_bandwidth, that is split in proportion to their own
//   bandwidths; what one of them cannot use goes to the other.
// - While kernels run every rate is divided by slowdown. Latencies are not.
//
// Rates are whole bytes per second and times whole nanoseconds, so that an amount is a whole number of 10^-9 bytes and
// the arithmetic exact: the times do not depend on how often anybody looks. Only two things are rounded. A share goes
// up to a byte per second, so that a division that comes out even in time is not a nanosecond late (the transfers
// together exceed the link by less than a byte per second each); an end goes up to a nanosecond.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/ids.h"
#include "sim/base/observer.h"
#include "sim/base/time.h"
#include "sim/model/hardware.h"

namespace alchemist {

enum class HostMemory : std::uint8_t { kPinned, kPageable };

// Bandwidths in bytes/s, > 0. Above 10^15 they count as that, at which a megabyte takes a nanosecond.
struct LinkSpec {
  double h2d_bandwidth = 0;  // pinned, large transfers, the other direction idle, no kernels running
  double d2h_bandwidth = 0;
  double duplex_bandwidth = 0;    // of both directions together when both are busy
  double pageable_bandwidth = 0;  // of one transfer
  Duration latency;               // of a transfer before its first byte, >= 0
  double slowdown = 1;            // of transfers while kernels run, >= 1
  double copy_slowdown = 1;       // of kernels while a transfer is in flight, >= 1; the link itself has no use for it

  HostMemory host_memory = HostMemory::kPinned;  // that there is; for who starts transfers

  static LinkSpec from(const HardwareSpec& hardware);
};

struct FinishedTransfer {
  TransferId id;
  LinkDirection direction = LinkDirection::kHostToDevice;
  Bytes bytes;
  Time start;
  Time end;

  bool operator==(const FinishedTransfer&) const = default;
};

// Times that it is given never go back, and start() and set_kernels_running() never come later than next_event(): who
// drives the link advances it first. An event costs the logarithm of the transfers in flight.
class Link {
 public:
  explicit Link(const LinkSpec& spec);

  // Ids count up from 0. A transfer that has started cannot be recalled. One of no bytes ends after the latency.
  TransferId start(Time now, LinkDirection direction, Bytes bytes, HostMemory memory);
  void set_kernels_running(Time now, bool running);

  // When rates change or a transfer ends; Time::max() if none is in flight.
  Time next_event() const { return next_; }
  // Appends the transfers that end by `now`, in order of (end, id).
  void advance(Time now, std::vector<FinishedTransfer>& finished);

  // From `now` until the transfers in flight have ended, if no other one starts and kernels run. An estimate: pageable
  // transfers count as pinned ones, and the latencies of transfers behind others' bytes as hidden. Not before the time
  // of the last call.
  Duration time_left(Time now) const;

  // A transfer is in flight, be it in its latency.
  bool busy(LinkDirection direction) const { return account(direction).in_flight > 0; }
  bool idle() const { return waiting_.empty() && moving_ == 0; }
  Bytes started_bytes(LinkDirection direction) const { return account(direction).started; }
  Bytes finished_bytes(LinkDirection direction) const { return account(direction).finished; }
  Bytes in_flight_bytes(LinkDirection direction) const {
    return account(direction).started - account(direction).finished;
  }

 private:
  __extension__ typedef __int128 Amount;  // 10^-9 bytes; 64 bits would end at 9 GB
  using Rate = std::int64_t;              // bytes/s, which is 10^-9 bytes a nanosecond

  struct Capacity {
    std::array<Rate, 2> direction{};
    Rate duplex = 0;
    std::array<Rate, 2> duplex_part{};  // in proportion to the directions
    Rate pageable = 0;
  };
  struct Waiting {  // in its latency
    Time ready;
    std::size_t stream;
    TransferId id;
    Bytes bytes;
    Time start;
  };
  struct Moving {
    Amount target;  // ends when the stream's `served` is here
    TransferId id;
    Bytes bytes;
    Time start;
  };
  // The moving transfers of one direction and kind of memory. All have the same rate, so one number tells the progress
  // of each, and the one with the least target is the next to end.
  struct Stream {
    Rate rate = 0;         // of each transfer
    Amount served = 0;     // what a transfer in it since the beginning would have received
    Amount delivered = 0;  // to all transfers together
    Amount completed = 0;  // the part of it that went to transfers that have ended
    std::vector<Moving> heap;
  };
  struct Account {  // of one direction
    Bytes started;
    Bytes finished;
    std::int64_t in_flight = 0;
  };

  static Capacity capacity(const LinkSpec& spec, double divisor);
  static LinkDirection direction_of(std::size_t stream);
  const Account& account(LinkDirection direction) const { return accounts_[static_cast<std::size_t>(direction)]; }

  void move_clock(Time now);
  void settle(Time now);
  void begin_moving(Time now);
  void complete(Time now, std::vector<FinishedTransfer>& finished);
  void finish_first(Stream& stream);
  void check_conservation() const;
  void update_rates();
  void split_direction(std::size_t direction, Rate total, Rate cap);
  void update_next_event();

  Duration latency_;
  std::array<Capacity, 2> capacity_;  // without and with kernels running
  bool kernels_running_ = false;
  Time now_;      // the latest time seen
  Time settled_;  // up to which the streams' progress is counted
  Time next_ = Time::max();
  TransferId next_id_;
  std::deque<Waiting> waiting_;    // all have the same latency: in order of ready and id
  std::array<Stream, 4> streams_;  // by direction, then kind of memory
  std::size_t moving_ = 0;         // transfers in the streams
  std::array<Account, 2> accounts_;
};

}  // namespace alchemist
