// Memory over time of one replica, in constant memory and with its peaks.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "sim/base/observer.h"

namespace alchemist {

// One row: the largest that each category reached from `time` until the next row.
struct MemoryRow {
  Time time;
  MemoryUse peak;
  Bytes peak_total;  // largest sum; less than the sum of the peaks where they came at different moments
};

// At most kMaxRows rows. While the changes of a run fit, each is a row of its own; beyond that, rows whose times fall
// into the same interval of 2^k nanoseconds become one, with k as small as the limit allows.
class MemorySeries {
 public:
  static constexpr std::size_t kMaxRows = 4096;

  void add(Time now, const MemoryUse& use);
  const std::vector<MemoryRow>& rows() const { return rows_; }

 private:
  void halve();
  std::int64_t interval(Time t) const { return t.count_ns() >> shift_; }

  std::vector<MemoryRow> rows_;
  std::optional<MemoryUse> last_;
  int shift_ = 0;
};

// Category by category, the larger of two.
MemoryUse largest(const MemoryUse& a, const MemoryUse& b);

}  // namespace alchemist
