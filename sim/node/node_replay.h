// A recorded run, simulated or real, fed again to fresh nodes: a node is a function of its events, so its commands must
// be the recorded ones, byte for byte.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/line_reader.h"
#include "sim/node/node.h"
#include "sim/node/node_log.h"

namespace alchemist {

// What it takes to make a node.
struct NodeSpec {
  ServingConfig serving;
  std::int32_t pages = 0;                       // KV blocks, or pages of a node that only trains
  std::function<NodeTraining()> make_training;  // empty: the node only serves. Called once for each node

  std::unique_ptr<Node> make(Host& host) const;
};

struct ReplayTotals {
  std::int64_t events = 0;
  std::int64_t commands = 0;
};

// Whether the log ends with the line that says so.
enum class LogEnd { kMarked, kUnmarked };

// Feeds a log to a node for each replica, from the reader's present line on. ConfigError (FILE:LINE) for a line that
// cannot be read, for the first command that differs, is missing or is one too many, for an event that a node cannot
// have been told, and, once all the others were found equal, where the end that it should have is missing.
ReplayTotals replay_nodes(LineReader& log, const std::vector<NodeSpec>& replicas, LogEnd end = LogEnd::kUnmarked);

}  // namespace alchemist
