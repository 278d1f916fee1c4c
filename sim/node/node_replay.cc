#include "sim/node/node_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <string_view>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {

std::unique_ptr<Node> NodeSpec::make(Host& host) const {
  return std::make_unique<Node>(serving, pages, host,
                                make_training ? std::optional(make_training()) : std::optional<NodeTraining>());
}

namespace {

struct LogLine {
  std::string path;
  int number = 0;
  std::string text;
  [[noreturn]] void fail(std::string_view message) const { throw ConfigError::at(path, number, message); }
};

// The words of one line.
class WordReader {
 public:
  explicit WordReader(const LogLine& line) : line_(line), rest_(line.text) {}

  std::string_view word() {
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view result = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (result.empty()) line_.fail("the line ends too early");
    return result;
  }
  template <class Whole>
  Whole number() {
    const std::string_view text = word();
    Whole value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      line_.fail("expected a whole number, got \"" + std::string(text) + "\"");
    }
    return value;
  }
  template <class AnyId>
  AnyId id() {
    return AnyId(number<typename AnyId::value_type>());
  }
  bool flag() { return number<int>() != 0; }
  Duration duration() { return Duration::nanoseconds(number<std::int64_t>()); }
  std::optional<Duration> optional_duration() {
    if (rest_ != "-") return duration();
    word();
    return std::nullopt;
  }
  template <class Item, class Read>
  std::vector<Item> list(Read&& read) {
    std::vector<Item> items;
    for (auto left = number<std::size_t>(); left > 0; --left) items.push_back(read());
    return items;
  }
  void finish() const {
    if (!rest_.empty()) line_.fail("unexpected \"" + std::string(rest_) + "\" at the end");
  }

 private:
  const LogLine& line_;
  std::string_view rest_;
};

// A command may name thousands of blocks: where the two part, and what stands there.
std::string difference(const std::string& given, const std::string& recorded) {
  const auto parting = std::ranges::mismatch(given, recorded).in1 - given.begin();
  const std::size_t space = parting == 0 ? std::string::npos : given.rfind(' ', static_cast<std::size_t>(parting) - 1);
  const std::size_t word = space == std::string::npos ? 0 : space + 1;
  const auto excerpt = [&](const std::string& text) {
    constexpr std::size_t kShown = 60;
    if (text.size() <= word) return std::string("its end");
    return fmt::format("\"{}{}\"", text.substr(word, kShown), text.size() - word > kShown ? "..." : "");
  };
  return fmt::format("a fresh node gives another command than this \"{}\": from character {} on {} in place of {}",
                     recorded.substr(0, recorded.find(' ')), word + 1, excerpt(given), excerpt(recorded));
}

// What a check asked for, without the place in the sources, which tells nobody what is wrong with a log.
std::string broken_rule(const InternalError& error) {
  const std::string text = error.what();
  return text.substr(0, text.find(" ("));
}

// Compares instead of acting. An operation is answered as it was in the recorded run.
class CheckingHost final : public Host {
 public:
  // The event that the node is told next, and what it commanded in answer.
  void expect(const LogLine& event, std::deque<LogLine> commands) {
    event_ = event;
    expected_ = std::move(commands);
  }
  void expect_no_more() const {
    if (!expected_.empty()) expected_.front().fail("a fresh node does not give this command");
  }
  std::int64_t commands() const { return commands_; }

  OpId submit(const ServingOp& op) override { return answer(command_text(op)); }
  OpId submit(const TrainingPiece& piece) override { return answer(command_text(piece)); }
  OpId submit(const CopyOp& copy) override { return answer(command_text(copy)); }
  OpId all_reduce() override { return answer(std::string(kAllReduceText)); }
  void begin(const MicroBatchWork& work) override { compare(command_text(work)); }
  void end_micro_batch() override { compare(std::string(kEndMicroBatchText)); }
  void forget(RecordId record) override { compare(command_text(record)); }
  void report(const TrainingStep& step, std::span<const TrainedSample> samples) override {
    compare(command_text(step, samples));
  }
  void wake_at(Time when) override { compare(command_text(when)); }

 private:
  LogLine next(const std::string& given) {
    ++commands_;
    if (expected_.empty()) event_.fail("in answer to this event a fresh node commands what is not recorded: " + given);
    LogLine first = std::move(expected_.front());
    expected_.pop_front();
    return first;
  }
  static void compare(const std::string& given, const LogLine& recorded) {
    if (given != recorded.text) recorded.fail(difference(given, recorded.text));
  }
  void compare(const std::string& given) { compare(given, next(given)); }
  OpId answer(const std::string& given) {
    LogLine recorded = next(given);
    const std::size_t equals = recorded.text.rfind(" = ");
    std::uint64_t op = 0;
    if (equals != std::string::npos) {
      const char* end = recorded.text.data() + recorded.text.size();
      if (std::from_chars(recorded.text.data() + equals + 3, end, op).ptr != end) {
        recorded.fail("expected \" = OPERATION\" at the end of the command");
      }
      recorded.text.resize(equals);
    }
    compare(given, recorded);
    return OpId(op);
  }

  LogLine event_;
  std::deque<LogLine> expected_;
  std::int64_t commands_ = 0;
};

struct Replica {
  std::unique_ptr<CheckingHost> host;
  std::unique_ptr<Node> node;
  std::deque<std::vector<std::uint64_t>> chains;  // that arrivals and feedback point at
  std::vector<bool> live;                         // by handle: a request that has not ended
  Time told;                                      // of the latest event
};

PromptContent read_content(WordReader& words, Replica& replica) {
  PromptContent content;
  content.content_id = words.number<std::uint64_t>();
  content.chain_block_tokens = words.number<std::int32_t>();
  auto chain = words.list<std::uint64_t>([&] { return words.number<std::uint64_t>(); });
  if (!chain.empty()) content.chain_ids = replica.chains.emplace_back(std::move(chain));
  return content;
}

Arrival read_arrival(WordReader& words, Replica& replica) {
  Arrival arrival;
  arrival.request = words.id<RequestHandle>();
  arrival.id = words.id<RequestId>();
  arrival.session = words.id<SessionId>();
  arrival.prompt_tokens = words.number<std::int32_t>();
  arrival.content = read_content(words, replica);
  arrival.foresees_feedback = words.flag();
  arrival.feedback_delay = words.optional_duration();
  return arrival;
}

Feedback read_feedback(WordReader& words, Replica& replica) {
  Feedback feedback;
  feedback.request = words.id<RequestId>();
  feedback.session = words.id<SessionId>();
  feedback.prompt_tokens = words.number<std::int32_t>();
  feedback.output_tokens = words.number<std::int32_t>();
  feedback.other_answers = words.number<std::int32_t>();
  feedback.other_answer_tokens = words.number<std::int32_t>();
  feedback.content = read_content(words, replica);
  return feedback;
}

// Handles are dense and used again only after their request has ended; what breaks that is no log of a run.
void take_handle(const LogLine& line, RequestHandle handle, Replica& replica) {
  if (handle.value() > replica.live.size())
    line.fail("expected a handle of at most " + std::to_string(replica.live.size()));
  if (handle.value() == replica.live.size()) replica.live.push_back(false);
  if (replica.live[handle.value()]) line.fail("this handle is another live request's");
  replica.live[handle.value()] = true;
}

void give_handle_back(const LogLine& line, RequestHandle handle, Replica& replica) {
  if (handle.value() >= replica.live.size() || !replica.live[handle.value()])
    line.fail("this handle is no live request's");
  replica.live[handle.value()] = false;
}

void tell_completion(const LogLine& line, WordReader& words, Time now, Replica& replica) {
  Completion completion;
  completion.op = words.id<OpId>();
  completion.done = words.flag();
  completion.steps = words.number<std::int64_t>();
  completion.ran = words.duration();
  const auto ended = words.list<RequestHandle>([&] { return words.id<RequestHandle>(); });
  completion.ended = ended;
  words.finish();
  for (const RequestHandle handle : ended) give_handle_back(line, handle, replica);
  replica.node->on_completion(now, completion);
}

void tell(const LogLine& line, WordReader& words, Replica& replica) {
  const Time now = Time::from_ns(words.number<std::int64_t>());
  if (now < replica.told) line.fail("this replica was told of a later moment before");
  replica.told = now;
  const std::string_view kind = words.word();
  Node& node = *replica.node;
  if (kind == "arrival") {
    const Arrival arrival = read_arrival(words, replica);
    words.finish();
    take_handle(line, arrival.request, replica);
    node.on_arrival(now, arrival);
  } else if (kind == "feedback") {
    const Feedback feedback = read_feedback(words, replica);
    words.finish();
    node.on_feedback(now, feedback);
  } else if (kind == "completion") {
    tell_completion(line, words, now, replica);
  } else if (kind == "wake") {
    words.finish();
    node.on_wake(now);
  } else if (kind == "new_weights") {
    words.finish();
    node.on_new_weights(now);
  } else if (kind == kAllReduceText) {
    words.finish();
    node.on_all_reduce(now);
  } else if (kind == "hand_over") {
    words.finish();
    node.on_hand_over(now);
  } else if (kind == "take_over") {
    const auto tokens = words.number<std::int64_t>();
    words.finish();
    node.on_take_over(now, tokens);
  } else if (kind == "progress") {
    const OpId op = words.id<OpId>();
    const auto steps = words.number<std::int64_t>();
    words.finish();
    node.catch_up(op, steps);
  } else {
    line.fail(
        "unknown event \"" + std::string(kind) +
        "\": expected arrival, feedback, completion, wake, new_weights, all_reduce, hand_over, take_over or progress");
  }
}

// An event is told when the commands that follow it are known: they come until the next event.
class Replayer {
 public:
  explicit Replayer(const std::vector<NodeSpec>& specs) : replicas_(specs.size()) {
    for (std::size_t i = 0; i < specs.size(); ++i) {
      replicas_[i].host = std::make_unique<CheckingHost>();
      replicas_[i].node = specs[i].make(*replicas_[i].host);
    }
  }

  void read(LogLine line) {
    if (is_command_line(line.text)) {
      const std::size_t space = line.text.find(' ');
      if (!event_) line.fail("a command before the first event");
      const std::string_view told = std::string_view(event_->text).substr(0, event_->text.find(' '));
      if (line.text.substr(0, space) != told) {
        line.fail(fmt::format("expected a command of replica {}, which was told the event before it", told));
      }
      line.text.erase(0, space + 3);
      commands_.push_back(std::move(line));
      return;
    }
    deliver();
    event_ = std::move(line);
  }
  void deliver() {
    if (!event_) return;
    WordReader words(*event_);
    const auto index = words.number<std::size_t>();
    if (index >= replicas_.size()) event_->fail("expected a replica below " + std::to_string(replicas_.size()));
    Replica& replica = replicas_[index];
    replica.host->expect(*event_, std::exchange(commands_, {}));
    try {
      tell(*event_, words, replica);
    } catch (const InternalError& error) {
      event_->fail("a fresh node cannot have been told this: " + broken_rule(error));
    }
    replica.host->expect_no_more();
    ++totals_.events;
    event_.reset();
  }
  ReplayTotals totals() const {
    ReplayTotals totals = totals_;
    for (const Replica& replica : replicas_) totals.commands += replica.host->commands();
    return totals;
  }

 private:
  std::vector<Replica> replicas_;
  std::optional<LogLine> event_;
  std::deque<LogLine> commands_;
  ReplayTotals totals_;
};

}  // namespace

ReplayTotals replay_nodes(LineReader& log, const std::vector<NodeSpec>& replicas, LogEnd end) {
  Replayer replayer(replicas);
  LogLine line;
  const auto take = [&] { line = {log.path(), log.line(), log.text()}; };
  take();
  while (log.next()) {
    replayer.read(std::move(line));
    take();
  }
  if (end == LogEnd::kUnmarked) {
    replayer.read(std::move(line));
    replayer.deliver();
    return replayer.totals();
  }
  if (line.text == kFailedText) {
    replayer.deliver();
    return replayer.totals();
  }
  if (!line.text.starts_with("end ")) {
    // Commands of the last event may be missing too, and this line may be a part of one.
    const ReplayTotals totals = replayer.totals();
    line.fail(
        fmt::format("the log is incomplete, it ends here without \"end EVENTS COMMANDS\"; {} events and {} commands "
                    "before are equal",
                    totals.events, totals.commands));
  }
  replayer.deliver();
  const ReplayTotals totals = replayer.totals();
  const std::string found = end_text(totals.events, totals.commands);
  if (line.text != found) line.fail("the log is incomplete: it has \"" + found + "\"");
  return totals;
}

}  // namespace alchemist
