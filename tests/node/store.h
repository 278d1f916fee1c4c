// An activation store over a small pool, whose copies the test itself lets end.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "sim/node/activation_store.h"
#include "sim/policy/decision_registry.h"
#include "tests/node/copy_host.h"

namespace alchemist::testing {

// Serving asks for `prefixes` prefixes of a block each in turn, many times, while for each of these `computed` blocks
// of others are computed. With as many free blocks all are hits, with fewer none are.
inline void ask_in_turn(BlockPool& pool, std::uint64_t prefixes, std::int32_t computed) {
  for (std::uint64_t i = 0; i < 1'000 + prefixes; ++i) {
    const PrefixHash prefix = 1'000 + i % prefixes;
    pool.note_computed(computed);
    if (const auto found = pool.find(prefix)) {
      pool.share(*found);
      pool.release(*found);
    } else {
      pool.note_missed(prefix);
      const BlockId block = pool.allocate();
      pool.publish(block, prefix);
      pool.release(block);
    }
  }
}

// Pages of 100 bytes; 10 bytes a token, 4 a lean one; room for 100 tokens on the host unless it says otherwise. A
// record of 40 tokens takes 4 pages. Records may hold `pages`, all there are, or of `blocks` whatever is to spare.
struct Store {
  explicit Store(const char* place, std::int32_t pages = 10, std::int32_t blocks = 0, Bytes on_host = Bytes(1'000))
      : pool(blocks > 0 ? blocks : pages) {
    policy.record = make_record_decision("minimal");
    policy.place = make_place_decision(place);
    policy.evict = make_evict_decision("oldest");
    StoreConfig config;
    config.page_bytes = Bytes(100);
    config.max_pages = pages;
    config.spare_memory = blocks > 0;
    config.host_capacity = on_host;
    config.lean_per_token = Bytes(4);
    config.minimal_per_token = Bytes(10);
    config.link_bandwidth = 1e6;
    store.emplace(config, pool, policy, host);
  }
  static Arrival arrival(std::uint32_t request) {
    Arrival arrival;
    arrival.request = RequestHandle(request);
    arrival.id = RequestId(request);
    arrival.session = SessionId(request);
    arrival.prompt_tokens = 40;
    return arrival;
  }
  // Of a prompt of 40 tokens, the first `cached` of which were not computed.
  RecordId record(std::uint32_t request, std::int32_t cached = 0) {
    const auto id = store->begin(Time(), arrival(request), cached, 40, WeightVersion());
    EXPECT_TRUE(id.has_value());
    EXPECT_EQ(store->extend(Time(), *id, 40 - cached), 40 - cached);
    store->complete(Time(), *id);
    store->check_consistency();
    return *id;
  }
  // Of the tokens `from` to `to` of a prompt of `to`, in a session, made with these weights.
  RecordId record_of(std::uint32_t request, std::uint32_t session, std::int32_t from, std::int32_t to,
                     std::uint32_t version) {
    Arrival arrival = Store::arrival(request);
    arrival.session = SessionId(session);
    arrival.prompt_tokens = to;
    const auto id = store->begin(Time(), arrival, from, to, WeightVersion(version));
    EXPECT_TRUE(id.has_value());
    store->extend(Time(), *id, to - from);
    store->complete(Time(), *id);
    return *id;
  }
  // The first `tokens` of its answer are about to be decoded.
  RecordId begin_answer(std::uint32_t request, std::int32_t tokens, bool lean) {
    const auto id = store->begin_answer(Time(), arrival(request), 40, tokens, lean, WeightVersion());
    EXPECT_TRUE(id.has_value());
    return id.value();
  }
  BlockPool pool;
  CopyHost host;
  Policy policy;
  std::optional<ActivationStore> store;
};

}  // namespace alchemist::testing
