// What vLLM 0.19.0 did in small workloads (tests/engine/vllm_schedules.txt), step by step, against our node and its
// simulated host.
//
// The file is a sample. Compared in the same way were 1,970 random workloads of all its kinds with asynchronous
// scheduling, tables of blocks included, and 300 requests of a real run over 6,142 steps: all were equal to the step.
// To do so again, with vLLM's Python packages and PyTorch, and without a model: build its AsyncScheduler (or Scheduler)
// with a SchedulerConfig, a CacheConfig and one group of full attention, and drive it as
// EngineCore.step_with_batch_queue (or step) does, with a clock in the place of the model: schedule(), let a step that
// has live requests take its time, and give update_from_output() a token for each request whose prompt is computed; the
// last of an answer is an end token. Prompts that share a prefix here must share its tokens there.
#include "tests/engine/vllm_schedules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/node_world.h"

namespace alchemist {
namespace {

using testing::FrozenWorkload;
using testing::FrozenWorkloadReader;
using testing::LinearCost;
using testing::ListWorkload;
using testing::NodeWorld;
using testing::ScheduledStep;
using testing::TextObserver;

enum Column { kPlanned, kStart, kEnd, kFree, kWork };

// An operation of the node, as its first step would be written in the file, with the end of its last one.
struct PlayedOperation {
  ScheduledStep step;
  std::int64_t steps = 0;
};

std::string text_of(Time time) { return std::to_string(time.count_ns()); }

SimulationConfig config_of(const FrozenWorkload& workload, bool single_steps) {
  SimulationConfig config = workload.config;
  config.host.steps.single_steps = single_steps;
  return config;
}

class Player {
 public:
  Player(const FrozenWorkload& workload, bool single_steps)
      : requests_(workload.requests), world_(config_of(workload, single_steps), cost_, requests_, observer_) {
    world_.on_serving = [this](Time now, const ServingOp& op) { note_plan(now, op); };
    world_.on_completion = [this](Time now, const Completion& completion) { note_end(now, completion); };
    world_.run();
  }

  const std::vector<PlayedOperation>& operations() const { return operations_; }

  std::vector<std::string> answers() const {
    std::map<std::uint32_t, std::string> by_number;
    for (const RequestOutcome& o : observer_.outcomes) {
      std::ostringstream text;
      text << o.id.value() << ' ' << o.first_token.count_ns() << ' ' << o.finished.count_ns() << ' '
           << o.longest_gap.value_or(Duration()).count_ns() << ' ' << o.prefix_hit_tokens << ' ' << o.preemptions;
      by_number[o.id.value()] = text.str();
    }
    std::vector<std::string> lines;
    for (const auto& [number, text] : by_number) lines.push_back(text);
    return lines;
  }

 private:
  void note_plan(Time now, const ServingOp& op) {
    std::ostringstream work;
    for (const RequestHandle handle : op.preempted) {
      work << " -" << world_.number_of(handle);
      forget(handle);
    }
    for (const RequestHandle handle : decoding_) {
      work << ' ' << world_.number_of(handle);
      for (const GrownTable& grown : op.grown) {
        if (grown.request == handle) work << '+' << grown.block.value();
      }
    }
    for (const PrefillWork& prefill : op.prefills) note_prefill(prefill, work);
    PlayedOperation& operation = operations_.emplace_back();
    operation.step.columns[kPlanned] = text_of(now);
    operation.step.columns[kStart] = operation.step.columns[kEnd] = "-";
    operation.step.columns[kFree] = std::to_string(world_.free_blocks());
    operation.step.columns[kWork] = work.str().substr(1);
  }

  void note_prefill(const PrefillWork& prefill, std::ostream& work) {
    work << ' ' << world_.number_of(prefill.request) << ':' << prefill.chunk.tokens << '@' << prefill.chunk.context;
    std::size_t& known = blocks_of_prompts_[prefill.request.value()];
    for (bool first = true; known < prefill.blocks.size(); ++known, first = false) {
      work << (first ? '+' : ',') << prefill.blocks[known].value();
    }
    if (prefill.last) decoding_.push_back(prefill.request);
  }

  void note_end(Time now, const Completion& completion) {
    for (const RequestHandle handle : completion.ended) forget(handle);
    if (!completion.done) return;
    PlayedOperation& operation = operations_[finished_++];
    operation.steps = completion.steps;
    if (completion.steps == 0) return;
    operation.step.columns[kStart] = text_of(now - completion.ran);
    operation.step.columns[kEnd] = text_of(now);
  }

  void forget(RequestHandle handle) {
    std::erase(decoding_, handle);
    blocks_of_prompts_.erase(handle.value());
  }

  const LinearCost cost_{1'000, 10, 0};
  TextObserver observer_;
  ListWorkload requests_;
  NodeWorld world_;
  std::vector<RequestHandle> decoding_;  // in the order in which they were admitted, as the plans so far say
  std::map<std::uint32_t, std::size_t> blocks_of_prompts_;  // by handle: so many are written down
  std::vector<PlayedOperation> operations_;
  std::size_t finished_ = 0;
};

std::string message(const FrozenWorkload& workload, std::size_t step, const std::string& what) {
  return workload.name + ", step " + std::to_string(step + 1) + " of " + std::to_string(workload.steps.size()) + ": " +
         what;
}

std::optional<std::string> difference(const ScheduledStep& ours, const ScheduledStep& theirs) {
  for (const Column i : {kPlanned, kStart, kFree, kWork, kEnd}) {  // when it ends follows from its work
    if (ours.columns[i] == theirs.columns[i]) continue;
    return std::string(ScheduledStep::kColumns[i]) + " \"" + ours.columns[i] + "\", and in vLLM \"" +
           theirs.columns[i] + '"';
  }
  return std::nullopt;
}

// Without the blocks that are taken in a step.
std::string batch(const ScheduledStep& step) {
  std::istringstream words(step.columns[kWork]);
  std::string text;
  for (std::string word; words >> word;) text += word.substr(0, word.find('+')) + ' ';
  return text;
}

bool runs(const ScheduledStep& step) { return step.columns[kStart] != "-"; }

std::optional<std::string> first_difference_of_steps(const FrozenWorkload& workload, const Player& player,
                                                     bool single_steps) {
  std::size_t next = 0;
  // A run is over when all its answers are. A single step behind it was planned before that was known.
  const auto skip = [&] {
    while (!single_steps && next < workload.steps.size() && !runs(workload.steps[next])) ++next;
  };
  for (const PlayedOperation& operation : player.operations()) {
    if (!single_steps && !runs(operation.step)) continue;
    skip();
    const std::size_t first = next;
    next += static_cast<std::size_t>(std::max<std::int64_t>(operation.steps, 1));
    if (next > workload.steps.size()) return message(workload, first, "there is none in vLLM");
    ScheduledStep theirs = workload.steps[first];
    theirs.columns[kEnd] = workload.steps[next - 1].columns[kEnd];
    if (const auto what = difference(operation.step, theirs)) return message(workload, first, *what);
    for (std::size_t i = first + 1; i < next; ++i) {
      if (batch(workload.steps[i]) != batch(theirs))
        return message(workload, i, "a run goes on, and vLLM has \"" + workload.steps[i].columns[kWork] + '"');
    }
  }
  skip();
  if (next < workload.steps.size()) return message(workload, next, "vLLM alone has this one");
  return std::nullopt;
}

// Compares all steps and answers. Returns the number of our operations.
std::size_t compare(const FrozenWorkload& workload, bool single_steps) {
  try {
    const Player player(workload, single_steps);
    if (const auto what = first_difference_of_steps(workload, player, single_steps)) ADD_FAILURE() << *what;
    EXPECT_EQ(player.answers(), workload.answers) << workload.name;
    return player.operations().size();
  } catch (const std::exception& error) {
    ADD_FAILURE() << workload.name << ": " << error.what();
    return 0;
  }
}

void compare_all(bool single_steps) {
  FrozenWorkloadReader reader(std::string(ALCHEMIST_SOURCE_DIR) + "/tests/engine/vllm_schedules.txt");
  int workloads = 0;
  std::size_t operations = 0, steps = 0;
  for (FrozenWorkload workload; reader.read(workload); ++workloads) {
    operations += compare(workload, single_steps);
    steps += workload.steps.size();
  }
  EXPECT_EQ(workloads, 16);
  EXPECT_EQ(operations < steps, !single_steps);
}

TEST(VllmSchedules, StepByStep) { compare_all(true); }

TEST(VllmSchedules, InRunsOfSteps) { compare_all(false); }

}  // namespace
}  // namespace alchemist
