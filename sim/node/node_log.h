// What a node was told and what it commanded, as lines of text: enough to feed a fresh node the same events and to
// compare its commands byte for byte. A line starts with the number of the replica.
//
//   R TIME arrival HANDLE REQUEST SESSION PROMPT CONTENT CHAIN_BLOCK [CHAIN_IDS] FORESEES DELAY
//   R TIME feedback REQUEST SESSION PROMPT ANSWER OTHERS OTHER_ANSWER CONTENT CHAIN_BLOCK [CHAIN_IDS]
//                                     OTHERS more answers to the prompt, of OTHER_ANSWER tokens each
//   R TIME completion OP DONE STEPS RAN [HANDLES]
//   R TIME wake
//   R TIME new_weights                of those that training GPUs have sent
//   R TIME all_reduce                 another replica waits for this one's gradients
//   R TIME hand_over                  and takes a micro-batch over,
//   R TIME take_over TOKENS           of so many tokens
//   R TIME progress OP STEPS          the operation has begun its STEPS-th step; told before a router looks at the
//                                     node, and before new weights
//   R > COMMAND                       what the node commands in answer to the event above it
//   end EVENTS COMMANDS               the last line of a file that holds all of a run, and how many lines of each it
//                                     has
//   failed                            the last line of one whose run failed, at its last event or outside of the nodes
//
// Times are nanoseconds. [LIST] is the number of the items and then the items; "-" stands for none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "sim/base/events.h"
#include "sim/node/host.h"

namespace alchemist {

// Bump it when a line changes its form.
inline constexpr int kNodeLogVersion = 11;

// The event as it stands behind "R TIME ".
std::string event_text(const Arrival& arrival);
std::string event_text(const Feedback& feedback);
std::string event_text(const Completion& completion);

// The command as it stands behind "R > "; of an operation without " = OP", its answer.
std::string command_text(const ServingOp& op);
std::string command_text(const TrainingPiece& piece);
std::string command_text(const CopyOp& copy);
std::string command_text(const MicroBatchWork& work);
std::string command_text(RecordId forgotten);
std::string command_text(const TrainingStep& step, std::span<const TrainedSample> samples);
std::string command_text(Time wake);
inline constexpr std::string_view kAllReduceText = "all_reduce";  // the command, and the event that it is to others
inline constexpr std::string_view kEndMicroBatchText = "end_micro_batch";

bool is_command_line(std::string_view line);
inline constexpr std::string_view kFailedText = "failed";
std::string end_text(std::int64_t events, std::int64_t commands);

// Stands between a node and its host: hands every command on and writes it down. The world calls event() before it
// tells the node.
class NodeRecorder final : public Host {
 public:
  using Sink = std::function<void(std::string_view line)>;  // without the end of the line

  // `inner` outlives the recorder.
  NodeRecorder(ReplicaId replica, Host& inner, Sink sink);

  template <class Event>
  void event(Time now, const Event& event) {
    write_event(now, event_text(event));
  }
  void wake(Time now) { write_event(now, "wake"); }
  void new_weights(Time now) { write_event(now, "new_weights"); }
  void all_reduce(Time now) { write_event(now, kAllReduceText); }
  void hand_over(Time now) { write_event(now, "hand_over"); }
  void take_over(Time now, std::int64_t tokens);
  void progress(Time now, OpId op, std::int64_t steps);

  OpId submit(const ServingOp& op) override;
  OpId submit(const TrainingPiece& piece) override;
  OpId submit(const CopyOp& copy) override;
  OpId all_reduce() override;
  void begin(const MicroBatchWork& work) override;
  void end_micro_batch() override;
  void forget(RecordId record) override;
  void report(const TrainingStep& step, std::span<const TrainedSample> samples) override;
  void wake_at(Time when) override;

 private:
  void write_event(Time now, std::string_view text);
  void write_command(std::string_view text);
  OpId answered(std::string_view command, OpId op);

  std::string prefix_;
  Host& inner_;
  Sink sink_;
};

}  // namespace alchemist
