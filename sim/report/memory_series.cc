#include "sim/report/memory_series.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {
namespace {

void merge(MemoryRow& into, const MemoryRow& later) {
  into.peak = largest(into.peak, later.peak);
  into.peak_total = std::max(into.peak_total, later.peak_total);
}

}  // namespace

MemoryUse largest(const MemoryUse& a, const MemoryUse& b) {
  return {std::max(a.weights, b.weights), std::max(a.kv, b.kv), std::max(a.activations, b.activations),
          std::max(a.training, b.training), std::max(a.host, b.host)};
}

void MemorySeries::add(Time now, const MemoryUse& use) {
  if (last_ == use) return;
  last_ = use;
  const MemoryRow row{now, use, use.total()};
  if (!rows_.empty()) {
    check(now >= rows_.back().time, "memory of a replica is told in order of time");
    if (interval(now) == interval(rows_.back().time)) {
      merge(rows_.back(), row);
      return;
    }
  }
  rows_.push_back(row);
  while (rows_.size() > kMaxRows) halve();
}

void MemorySeries::halve() {
  ++shift_;
  std::size_t kept = 0;
  for (std::size_t i = 1; i < rows_.size(); ++i) {
    if (interval(rows_[i].time) == interval(rows_[kept].time)) {
      merge(rows_[kept], rows_[i]);
    } else {
      rows_[++kept] = rows_[i];
    }
  }
  rows_.resize(kept + 1);
}

}  // namespace alchemist
