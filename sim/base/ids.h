// Identifiers that the compiler keeps apart: a RequestId is never passed where an OpId is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace alchemist {

template <class Tag, class Value = std::uint32_t>
class Id {
 public:
  using value_type = Value;
  constexpr Id() = default;
  explicit constexpr Id(Value value) : value_(value) {}
  constexpr Value value() const { return value_; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  Value value_ = 0;
};

using RequestId = Id<struct RequestTag>;                   // numbered from 0 in order of arrival
using SessionId = Id<struct SessionTag, std::uint64_t>;    // one conversation
using OpId = Id<struct OpTag, std::uint64_t>;              // one operation submitted to a host
using TransferId = Id<struct TransferTag, std::uint64_t>;  // one copy over the link of one replica
using BlockId = Id<struct BlockTag>;                       // one KV block of one replica
using RecordId = Id<struct RecordTag>;                     // one record of activations; used again when it is gone
using ReplicaId = Id<struct ReplicaTag, std::uint32_t>;    // one model replica (tensor_parallel GPUs)
using WeightVersion = Id<struct WeightVersionTag>;         // how many optimizer steps the weights have seen

}  // namespace alchemist

template <class Tag, class Value>
struct std::hash<alchemist::Id<Tag, Value>> {
  std::size_t operator()(alchemist::Id<Tag, Value> id) const noexcept { return std::hash<Value>{}(id.value()); }
};
