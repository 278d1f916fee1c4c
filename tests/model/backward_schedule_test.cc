#include "sim/model/backward_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::ElementsAre;

// Backward runs the MLP first: gate and up (to rebuild `gated`, then for their own gradients), then the second norm's,
// then o's weight gradient reads the attention output, then attention reads the rest, then the first norm.
TEST(BackwardSchedule, OrdersOfTheMinimalSet) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const BackwardSchedule schedule = backward_schedule(graph, minimal_tensors(graph));
  EXPECT_THAT(names(graph, schedule.reload_order),
              ElementsAre("gate", "up", "x_mid", "rstd2", "attention", "v", "q", "k", "lse", "x", "rstd1"));
  EXPECT_THAT(names(graph, schedule.release_order),
              ElementsAre("gate", "up", "x_mid", "rstd2", "v", "q", "k", "attention", "lse", "x", "rstd1"));
}

// The second norm's inputs come first once gate and up are rebuilt from them.
TEST(BackwardSchedule, OrdersOfTheLeanSet) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const BackwardSchedule schedule = backward_schedule(graph, lean_tensors(graph));
  ASSERT_GE(schedule.reload_order.size(), 3u);
  EXPECT_EQ(graph[schedule.reload_order[0]].spec.name, "x_mid");
  EXPECT_EQ(graph[schedule.reload_order[1]].spec.name, "rstd2");
  EXPECT_EQ(graph[schedule.reload_order[2]].spec.name, "attention");
}

// A norm's output again from the residual stream, hidden 4096, and a statistic: read, and written. The gated product,
// intermediate 14336, is only written: what makes the gradients of gate and up has read these.
TEST(BackwardSchedule, KernelsThatRebuild) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  const auto bytes_of = [](const std::vector<Kernel>& kernels) {
    double bytes = 0;
    for (const Kernel& kernel : kernels) bytes += kernel.work.bytes_per_token;
    return bytes;
  };
  const std::vector<Kernel> all = backward_kernels(graph, needed_tensors(graph));
  const std::vector<Kernel> minimal = backward_kernels(graph, minimal_tensors(graph));
  EXPECT_EQ(minimal.size(), all.size() + 2);
  EXPECT_EQ(bytes_of(minimal) - bytes_of(all), 2 * (8192 + 4 + 8192) + 28672);
}

// Replays a schedule: everything an operator reads was kept, made before, or comes from outside; nothing runs twice; a
// tensor is not read after its place in the release order; all backward operators and exactly the rebuild plan run.
void expect_valid(const LayerGraph& graph, const RecordSet& set) {
  const BackwardSchedule schedule = backward_schedule(graph, set.tensors);
  std::vector<bool> at_hand(graph.tensors.size(), false);
  std::vector<int> runs(graph.operators.size(), 0);
  for (const TensorId tensor : set.tensors) at_hand[tensor.value()] = true;
  at_hand[graph.find_tensor("d.y")->value()] = true;
  if (set.rebuild.from_below) at_hand[graph.input.value()] = true;
  std::vector<TensorId> by_last_read;
  for (const OperatorId id : schedule.operators) {
    for (const TensorId input : graph[id].inputs) {
      EXPECT_TRUE(at_hand[input.value()]) << set.name << ": " << graph[id].name << " reads " << graph[input].spec.name;
      std::erase(by_last_read, input);
      by_last_read.push_back(input);
    }
    for (const TensorId output : graph[id].outputs) at_hand[output.value()] = true;
    ++runs[id.value()];
  }
  for (const OperatorId id : graph.operators_of(Phase::kBackward)) EXPECT_EQ(runs[id.value()], 1) << graph[id].name;
  for (const OperatorId id : graph.operators_of(Phase::kForward)) {
    const auto& planned = set.rebuild.operators;
    const bool is_planned = std::find(planned.begin(), planned.end(), id) != planned.end();
    EXPECT_EQ(runs[id.value()], is_planned ? 1 : 0) << set.name << " " << graph[id].name;
  }
  // The release order is the order of last reads, up to reads by one operator.
  std::vector<std::size_t> last_read;
  for (const TensorId tensor : schedule.release_order) {
    std::size_t last = 0;
    for (std::size_t step = 0; step < schedule.operators.size(); ++step) {
      const auto& inputs = graph[schedule.operators[step]].inputs;
      if (std::find(inputs.begin(), inputs.end(), tensor) != inputs.end()) last = step;
    }
    last_read.push_back(last);
  }
  EXPECT_TRUE(std::is_sorted(last_read.begin(), last_read.end())) << set.name;
}

TEST(BackwardSchedule, RespectsDependenciesForEverySet) {
  for (const TrainingShape& training : {full_training(), TrainingShape{}, lora_training(4, {LinearModule::kV})}) {
    const LayerGraph graph = build_layer_graph(llama31_8b(), training);
    for (const RecordSet& set : named_record_sets(graph)) expect_valid(graph, set);
  }
}

// With all that is needed kept, only gradients live. The widest moment of full fine-tuning on Llama-3.1-8B is the gated
// activation's backward: d y (8,192, which is also d x_mid), d gated, d gate, d up (28,672 each) = 94,208. With the
// minimal set, `gated` is rebuilt first, but has been read by down's weight gradient by then; the moment is the same.
// Beside gate and up rebuilt (lean) it is 57,344 more, and n2 (8,192), which waits for their weight gradients.
TEST(BackwardSchedule, WorkingMemoryByHand) {
  const LayerGraph graph = build_layer_graph(llama31_8b(), full_training());
  EXPECT_EQ(backward_schedule(graph, needed_tensors(graph)).peak_working_bytes_per_token, 94'208);
  EXPECT_EQ(backward_schedule(graph, minimal_tensors(graph)).peak_working_bytes_per_token, 94'208);
  EXPECT_EQ(backward_schedule(graph, lean_tensors(graph)).peak_working_bytes_per_token, 94'208 + 57'344 + 8'192);
}

}  // namespace
}  // namespace alchemist
