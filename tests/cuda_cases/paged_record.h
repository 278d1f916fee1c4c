// A record for an operator that keeps what it has in hand.
#pragma once

#include "tests/cuda_cases/bench.h"

namespace alchemist::cases {

template <class T>
struct PagedRecord {
  T* memory = nullptr;
  std::int64_t size = 0;  // elements of `memory`, of which every other page is the record's
  PagedBytes bytes;
};

// For `elements`, the first of which is element `first` of the record. Its pages, of `page` elements, lie in another
// order than they are used; what nobody writes is -1.
template <class T, class Element = T>
PagedRecord<Element> paged_record(Bench<T>& bench, std::int64_t elements, std::int64_t page, std::int64_t first) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Element));
  const std::int64_t used = (first + elements + page - 1) / page;
  std::vector<std::int32_t> pages;
  for (std::int64_t i = 0; i < used; ++i) pages.push_back(static_cast<std::int32_t>((used - i) * 2 - 1));
  PagedRecord<Element> record;
  record.size = 2 * used * page;
  const Values nothing(static_cast<std::size_t>(record.size), -1);
  if constexpr (std::is_same_v<Element, T>) {
    record.memory = bench.storage(nothing);
  } else {
    record.memory = bench.accumulators(nothing);
  }
  record.bytes = {reinterpret_cast<std::byte*>(record.memory), page * kBytes, bench.plain(pages), first * kBytes};
  return record;
}

// Zero to the bit where both are equal.
template <class T>
Values difference(Bench<T>& bench, const T* a, const T* b, std::int64_t count) {
  Values values = bench.read(a, count);
  const Values others = bench.read(b, count);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] -= others[i];
  return values;
}

}  // namespace alchemist::cases
