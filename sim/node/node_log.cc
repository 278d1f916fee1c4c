#include "sim/node/node_log.h"

#include <fmt/format.h>

#include <iterator>
#include <optional>

namespace alchemist {
namespace {

// Appends " VALUE" for each value; ids by their number, true as 1, a double so that it reads back as the same one.
class Words {
 public:
  explicit Words(std::string_view first) : text_(first) {}
  template <class... Values>
  Words& add(const Values&... values) {
    (append(values), ...);
    return *this;
  }
  template <class List, class Each>
  Words& list(const List& items, Each&& each) {
    append(items.size());
    for (const auto& item : items) each(item);
    return *this;
  }
  template <class Item>
  Words& list(std::span<const Item> items) {
    return list(items, [this](const Item& item) { append(item); });
  }
  std::string take() { return std::move(text_); }

 private:
  template <class Tag, class Value>
  void append(Id<Tag, Value> id) {
    append(id.value());
  }
  void append(bool value) { text_ += value ? " 1" : " 0"; }
  void append(Duration value) { append(value.count_ns()); }
  void append(Time value) { append(value.count_ns()); }
  void append(Bytes value) { append(value.count()); }
  template <class Value>
  void append(const std::optional<Value>& value) {
    if (value) {
      append(*value);
    } else {
      text_ += " -";
    }
  }
  template <class Value>
  requires std::is_enum_v<Value>
  void append(Value value) { append(static_cast<int>(value)); }
  template <class Value>
  requires std::is_arithmetic_v<Value>
  void append(Value value) { fmt::format_to(std::back_inserter(text_), " {}", value); }

  std::string text_;
};

Words& add_content(Words& words, const PromptContent& content) {
  return words.add(content.content_id, content.chain_block_tokens).list(content.chain_ids);
}

void add_record(Words& words, const RecordPart& record) {
  words.add(record.id, record.lean, record.first_token).list(record.pages);
}

void add_prefill(Words& words, const PrefillWork& work) {
  words.add(work.request, work.chunk.tokens, work.chunk.context, work.target, work.last, work.recorded,
            work.recorded_tokens, work.stale_context);
  words.list(work.blocks);
  words.add(work.record.has_value());
  if (work.record) add_record(words, *work.record);
}

}  // namespace

std::string event_text(const Arrival& arrival) {
  Words words("arrival");
  words.add(arrival.request, arrival.id, arrival.session, arrival.prompt_tokens);
  return add_content(words, arrival.content).add(arrival.foresees_feedback, arrival.feedback_delay).take();
}

std::string event_text(const Feedback& feedback) {
  Words words("feedback");
  words.add(feedback.request, feedback.session, feedback.prompt_tokens, feedback.output_tokens, feedback.other_answers,
            feedback.other_answer_tokens);
  return add_content(words, feedback.content).take();
}

std::string event_text(const Completion& completion) {
  Words words("completion");
  words.add(completion.op, completion.done, completion.steps, completion.ran);
  return words.list(completion.ended).take();
}

std::string command_text(const ServingOp& op) {
  Words words("serve");
  words.add(op.max_steps, op.running, op.waiting);
  words.list(op.prefills, [&](const PrefillWork& work) { add_prefill(words, work); });
  words.list(op.preempted);
  words.list(op.grown, [&](const GrownTable& table) { words.add(table.request, table.block); });
  words.list(op.answers, [&](const AnswerPart& answer) {
    words.add(answer.request, answer.first_token, answer.tokens, answer.bytes);
    add_record(words, answer.record);
  });
  words.add(op.recorded_per_step, op.planned);
  return words.take();
}

std::string command_text(const TrainingPiece& piece) {
  return Words("piece")
      .add(piece.kind, piece.layer, piece.first_token, piece.tokens, piece.parameters, piece.attended_keys,
           piece.rebuild_tokens, piece.recorded_targets, piece.checkpoint_tokens, piece.adapter_changes, piece.beside)
      .take();
}

std::string command_text(const CopyOp& copy) {
  Words words("copy");
  words.add(copy.direction, copy.bytes, copy.layer, copy.keys, copy.record.has_value());
  if (copy.record) words.add(*copy.record);
  return words.take();
}

std::string command_text(const MicroBatchWork& work) {
  Words words("begin");
  words.add(work.step_targets, work.recompute_below, work.fresh, work.fresh_layers, work.key_layers, work.layers,
            work.resumes);
  words.list(work.samples, [&](const Feedback& sample) {
    words.add(sample.request, sample.session, sample.prompt_tokens, sample.output_tokens);
  });
  words.list(work.recorded, [&](const RecordedTokens& part) {
    words.add(part.sample, part.first_token, part.tokens, part.record, part.record_token, part.lean, part.on_host,
              part.version_lag);
  });
  words.list(work.pages);
  words.list(work.restore, [&](const LayerPlan& layer) { words.add(layer.source, layer.gate_up_share); });
  return words.take();
}

std::string command_text(RecordId forgotten) { return Words("forget").add(forgotten).take(); }

std::string command_text(const TrainingStep& step, std::span<const TrainedSample> samples) {
  Words words("trained");
  words.add(step.version, step.start, step.end, step.tokens, step.samples, step.restore_stall, step.forward,
            step.backward, step.gradient_wait, step.optimizer, step.gpu_time, step.redundant_forward,
            step.reused_tokens, step.recomputed_tokens, step.dropped_tokens, step.reusing_samples,
            step.version_lag_sum);
  words.list(samples, [&](const TrainedSample& sample) { words.add(sample.request, sample.version_lag); });
  return words.take();
}

std::string command_text(Time wake) { return Words("wake_at").add(wake).take(); }

bool is_command_line(std::string_view line) {
  const std::size_t space = line.find(' ');
  return space != std::string_view::npos && line.substr(space).starts_with(" > ");
}

std::string end_text(std::int64_t events, std::int64_t commands) { return fmt::format("end {} {}", events, commands); }

NodeRecorder::NodeRecorder(ReplicaId replica, Host& inner, Sink sink)
    : prefix_(fmt::format("{} ", replica.value())), inner_(inner), sink_(std::move(sink)) {}

void NodeRecorder::write_event(Time now, std::string_view text) {
  sink_(fmt::format("{}{} {}", prefix_, now.count_ns(), text));
}

void NodeRecorder::write_command(std::string_view text) { sink_(fmt::format("{}> {}", prefix_, text)); }

void NodeRecorder::progress(Time now, OpId op, std::int64_t steps) {
  write_event(now, Words("progress").add(op, steps).take());
}

void NodeRecorder::take_over(Time now, std::int64_t tokens) { write_event(now, Words("take_over").add(tokens).take()); }

OpId NodeRecorder::answered(std::string_view command, OpId op) {
  write_command(fmt::format("{} = {}", command, op.value()));
  return op;
}

// The text comes first: the spans of a command are valid during the call only.
OpId NodeRecorder::submit(const ServingOp& op) {
  const std::string text = command_text(op);
  return answered(text, inner_.submit(op));
}

OpId NodeRecorder::submit(const TrainingPiece& piece) { return answered(command_text(piece), inner_.submit(piece)); }

OpId NodeRecorder::submit(const CopyOp& copy) { return answered(command_text(copy), inner_.submit(copy)); }

OpId NodeRecorder::all_reduce() { return answered(kAllReduceText, inner_.all_reduce()); }

void NodeRecorder::begin(const MicroBatchWork& work) {
  write_command(command_text(work));
  inner_.begin(work);
}

void NodeRecorder::end_micro_batch() {
  write_command(kEndMicroBatchText);
  inner_.end_micro_batch();
}

void NodeRecorder::forget(RecordId record) {
  write_command(command_text(record));
  inner_.forget(record);
}

void NodeRecorder::report(const TrainingStep& step, std::span<const TrainedSample> samples) {
  write_command(command_text(step, samples));
  inner_.report(step, samples);
}

void NodeRecorder::wake_at(Time when) {
  write_command(command_text(when));
  inner_.wake_at(when);
}

}  // namespace alchemist
