// Kernels and a link that compute nothing and keep account of everything. They take as long as a test says, and where
// they should write the activations or the keys and values of a token, they write a stamp: of all tokens of the
// conversation up to this one, of the layer and of the tensor. Who is to use them looks whether it is there. So
// whatever way activations take, a run over this model knows if they were the right ones.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/base/hash.h"
#include "validate/decoder.h"
#include "validate/packed_batch.h"
#include "validate/wall_clock.h"

namespace alchemist::testing {

class ScriptedDevice final : public DeviceMemory {
 public:
  std::string description() const override { return "scripted"; }
  std::int64_t usable_bytes() const override { return std::int64_t{1} << 40; }
  void* allocate(std::int64_t bytes) override {
    return ::operator new(static_cast<std::size_t>(bytes), std::align_val_t(256));
  }
  void free(void* device) noexcept override { ::operator delete(device, std::align_val_t(256)); }
  void* allocate_host(std::int64_t bytes) override { return allocate(bytes); }
  void free_host(void* host) noexcept override { free(host); }
  void fill_zero(void* device, std::int64_t bytes) override { std::memset(device, 0, static_cast<std::size_t>(bytes)); }
  void upload(void* device, const void* host, std::int64_t bytes) override {
    std::memcpy(device, host, static_cast<std::size_t>(bytes));
  }
  void download(void* host, const void* device, std::int64_t bytes) override {
    std::memcpy(host, device, static_cast<std::size_t>(bytes));
  }
  void link_copy(CopyDirection direction, void* to, const void* from, std::int64_t bytes) override {
    if (before_copy) before_copy(direction);
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    (direction == CopyDirection::kHostToDevice ? to_device : to_host) += bytes;
  }
  void link_wait(CopyDirection) override {}
  void synchronise() override {}

  std::function<void(CopyDirection)> before_copy;
  std::atomic<std::int64_t> to_device{0}, to_host{0};  // bytes that went over the link
};

// A step or a piece of training, as it was called.
struct ScriptedCall {
  enum class Kind { kStep, kForward, kHead, kBackward, kOptimizer };
  struct Sequence {
    std::uint64_t text = 0;  // its hash with the last of these tokens
    std::int32_t context = 0;
    std::int32_t tokens = 0;
    std::int32_t recorded = 0;  // of the tokens
    bool yields = false;
  };
  Kind kind = Kind::kStep;
  Time begin, end;  // by the model's own clock
  std::vector<Sequence> sequences;
  Bytes recorded;           // by a step
  std::int32_t layer = 0;   // of a piece
  std::int64_t tokens = 0;  // computed
  RowRange rows;            // of the micro-batch: where the tokens of the head and of a backward are
};

// The hashes of a conversation, by position.
inline std::vector<std::uint64_t> text_hashes(std::span<const std::int32_t> tokens, std::uint64_t before = 0) {
  std::vector<std::uint64_t> hashes;
  for (const std::int32_t token : tokens) hashes.push_back(before = mix64(before, static_cast<std::uint64_t>(token)));
  return hashes;
}

class ScriptedModel final : public Decoder {
 public:
  ScriptedModel(const ModelShape& shape, std::int32_t block_size) : layout_(shape) {
    options_.shape = shape;
    options_.shape.vocabulary = 1 << 30;  // no two tokens are equal by chance
    options_.limits.block_size = block_size;
    kv_bytes_ = shape.kv_bytes_per_token().count();
  }

  Duration step_time = Duration::microseconds(200), piece_time = Duration::microseconds(100);
  // Called at the beginning of a step or piece, with how many there were before it, and on the thread of the kernels.
  // What it throws is what the device says.
  std::function<void(std::size_t)> before_call;
  std::function<void(ScriptedCall::Kind)> before_piece;  // the same, with its kind

  // Not while a run goes on.
  const std::vector<ScriptedCall>& calls() const { return calls_; }
  std::vector<ScriptedCall> calls(ScriptedCall::Kind kind) const {
    std::vector<ScriptedCall> result;
    for (const ScriptedCall& call : calls_) {
      if (call.kind == kind) result.push_back(call);
    }
    return result;
  }
  std::int64_t wrong_stamps() const { return wrong_; }
  std::int64_t right_stamps() const { return right_; }
  // Rows that backward had under weights of another version than serving had recorded them under, and of all, those
  // that it had under older weights than those of then.
  std::int64_t wrong_versions() const { return wrong_versions_; }
  std::int64_t old_rows() const { return old_rows_; }
  // Of all training steps, the targets of each one's samples times their weight.
  const std::vector<double>& loss_weights() const { return loss_weights_; }
  std::int64_t trained_tokens() const { return trained_tokens_; }
  const WallClock& clock() const { return clock_; }
  ScriptedDevice& link() { return device_; }

  const DecoderOptions& options() const override { return options_; }
  DeviceMemory& device() override { return device_; }
  std::int64_t page_bytes() const override { return kv_bytes_ * options_.limits.block_size; }
  void use_arena(std::byte* arena) override { arena_ = arena; }

  void step(std::span<const SequenceStep> batch, std::span<std::int32_t>) override {
    run(ScriptedCall::Kind::kStep, step_time, [&](ScriptedCall& call) {
      for (const SequenceStep& sequence : batch) call.sequences.push_back(compute(sequence, call));
    });
  }

  void begin_micro_batch(std::span<const TrainingSample> samples, bool resumes,
                         std::span<const RowsUnder> under) override {
    under_.assign(under.begin(), under.end());
    if (resumes) return;
    rows_.clear();
    run_.clear();
    last_of_sample_.clear();
    if (std::exchange(step_is_over_, false)) loss_weights_.push_back(0);
    for (const TrainingSample& sample : samples) {
      for (const std::uint64_t hash : text_hashes(sample.tokens)) rows_.push_back(hash);
      last_of_sample_.resize(rows_.size());
      last_of_sample_.back() = true;
      loss_weights_.back() +=
          sample.loss_weight * static_cast<double>(std::ssize(sample.tokens) - sample.prompt_tokens);
    }
    trained_tokens_ += std::ssize(rows_);
  }
  void forward_layer(const LayerForward& forward) override {
    run(ScriptedCall::Kind::kForward, piece_time, [&](ScriptedCall& call) {
      call.layer = forward.layer;
      for (const RowRange& range : forward.rows) call.tokens += range.end - range.begin;
      for (ActivationPiece piece : forward.known) {
        piece.kind = RecordKind::kKeyValue;
        expect(piece, forward.layer);
      }
      for (const ActivationPiece& piece : forward.keep) put(piece, forward.layer, rows_);
      for (const RowRange& range : forward.rows) {
        for (std::int32_t row = range.begin; row < range.end; ++row) run_.insert({forward.layer, row});
      }
    });
  }
  HeadResult head(const HeadCall& head) override {
    run(ScriptedCall::Kind::kHead, piece_time, [&](ScriptedCall& call) {
      call.rows = head.part;
      call.tokens = head.part.end - head.part.begin;
      for (const ActivationPiece& piece : head.last_layer) {
        expect(piece, static_cast<std::int32_t>(options_.shape.layers) - 1);
      }
    });
    return {};
  }
  void backward_layer(const LayerBackward& backward) override {
    run(ScriptedCall::Kind::kBackward, piece_time, [&](ScriptedCall& call) {
      call.layer = backward.layer;
      call.rows = backward.part;
      call.tokens = backward.part.end - backward.part.begin;
      if (backward.part.end != std::ssize(rows_)) return;
      std::vector<int> covered(rows_.size());
      for (const ActivationPiece& piece : backward.activations) {
        for (std::int32_t row = piece.rows.begin; row < piece.rows.end; ++row) ++covered[static_cast<std::size_t>(row)];
      }
      wrong_ += std::ssize(covered) - std::count(covered.begin(), covered.end(), 1);
      for (const ActivationPiece& piece : backward.activations) expect(piece, backward.layer);
      expect_versions(backward.layer);
    });
  }
  void optimizer_step() override {
    run(ScriptedCall::Kind::kOptimizer, piece_time, [&](ScriptedCall&) {
      version_ = WeightVersion(version_.value() + 1);
      step_is_over_ = true;
    });
  }
  WeightVersion version() const override { return version_; }

  std::vector<double> trained_parameters() override { return {}; }
  void set_trained_parameters(std::span<const double>) override {}
  std::int64_t trained_bytes() const override { return sizeof version_; }
  void copy_trained(std::byte* to) override { std::memcpy(to, &version_, sizeof version_); }
  void read_trained_from(const std::byte*) override {}
  std::vector<double> gradients() override { return {}; }
  void zero_gradients() override {}
  std::vector<WeightName> weight_names() const override { return {}; }
  std::vector<NamedTensor> named_weights() override { return {}; }
  std::vector<NamedTensor> named_gradients() override { return {}; }
  void set_named_weight(const NamedTensor&) override {}

 private:
  template <class Work>
  void run(ScriptedCall::Kind kind, Duration time, Work&& work) {
    ScriptedCall call;
    call.kind = kind;
    call.begin = clock_.now();
    if (before_call) before_call(calls_.size());
    if (before_piece) before_piece(kind);
    std::this_thread::sleep_for(std::chrono::nanoseconds(time.count_ns()));
    work(call);
    call.end = clock_.now();
    calls_.push_back(std::move(call));
  }

  ScriptedCall::Sequence compute(const SequenceStep& step, ScriptedCall& call) {
    const auto at = [&](std::int32_t position) {
      const std::int32_t size = options_.limits.block_size;
      return arena_ + step.block_table[static_cast<std::size_t>(position / size)] * page_bytes() +
             position % size * kv_bytes_;
    };
    std::uint64_t before = 0;
    if (step.context > 0) std::memcpy(&before, at(step.context - 1), sizeof before);
    const std::vector<std::uint64_t> hashes = text_hashes(step.tokens, before);
    for (std::size_t i = 0; i < hashes.size(); ++i) {
      std::memcpy(at(step.context + static_cast<std::int32_t>(i)), &hashes[i], sizeof hashes[i]);
    }
    const auto tokens = static_cast<std::int32_t>(step.tokens.size());
    ScriptedCall::Sequence sequence{hashes.back(), step.context, tokens, 0, step.yields_token};
    if (!step.record.empty()) {
      const std::int32_t room = step.record_tokens > 0 ? step.record_tokens : tokens;
      sequence.recorded = std::min(tokens, room - step.record_first);
      call.recorded += Bytes(sequence.recorded * layout_.bytes_per_token(step.record_kind) * options_.shape.layers);
      for (std::int32_t layer = 0; layer < options_.shape.layers; ++layer) {
        const ActivationPiece piece{{0, sequence.recorded}, step.record_kind,
                                    step.record_kind,       room,
                                    step.record_first,      step.record[static_cast<std::size_t>(layer)]};
        put(piece, layer, hashes);
      }
      for (std::int32_t i = 0; i < sequence.recorded; ++i) {
        recorded_under_[hashes[static_cast<std::size_t>(i)]] = version_;
      }
    }
    call.tokens += tokens;
    return sequence;
  }

  // Of rows that were not run in the layer. No two records here are of the same text.
  void expect_versions(std::int32_t layer) {
    std::vector<WeightVersion> versions(rows_.size(), version_);
    for (const RowsUnder& part : under_) {
      WeightVersion under;
      std::memcpy(&under, part.trained, sizeof under);
      std::fill(versions.begin() + part.rows.begin, versions.begin() + part.rows.end, under);
    }
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      if (run_.contains({layer, static_cast<std::int32_t>(row)})) continue;
      const bool is_borrowed = last_of_sample_[row] && !recorded_under_.contains(rows_[row]);
      wrong_versions_ += recorded_under_.at(rows_[is_borrowed ? row - 1 : row]) != versions[row];
      old_rows_ += versions[row] != version_;
    }
  }
  // Of a token of which this is the text up to it.
  static std::uint32_t stamp_of(std::uint64_t text, std::int32_t layer, RecordTensor tensor) {
    return static_cast<std::uint32_t>(
        mix64(text, static_cast<std::uint64_t>(layer) * 16 + static_cast<std::uint64_t>(tensor)));
  }
  // Calls visit(byte of the memory, row, tensor) for every tensor of every token of the piece.
  template <class Visit>
  void each_place(const ActivationPiece& piece, Visit&& visit) const {
    for (const RecordTensor tensor : layout_.tensors(piece.kind)) {
      const std::int64_t begin = layout_.range(piece.layout, tensor, piece.record_tokens).begin;
      for (std::int32_t row = piece.rows.begin; row < piece.rows.end; ++row) {
        visit(begin + (piece.first_token + row - piece.rows.begin) * layout_.row_bytes(tensor),
              static_cast<std::size_t>(row), tensor);
      }
    }
  }
  // `texts`: by row.
  void put(const ActivationPiece& piece, std::int32_t layer, std::span<const std::uint64_t> texts) {
    each_place(piece, [&](std::int64_t byte, std::size_t row, RecordTensor tensor) {
      const std::uint32_t stamp = stamp_of(texts[row], layer, tensor);
      for (int i = 0; i < 4; ++i) byte_at(piece.memory, byte + i) = static_cast<std::byte>(stamp >> (8 * i));
    });
  }
  void expect(const ActivationPiece& piece, std::int32_t layer) {
    each_place(piece, [&](std::int64_t byte, std::size_t row, RecordTensor tensor) {
      std::uint32_t found = 0;
      for (int i = 0; i < 4; ++i) found |= static_cast<std::uint32_t>(byte_at(piece.memory, byte + i)) << (8 * i);
      // The last token of an answer was never an input. It takes those of the token before it.
      const bool is_right = found == stamp_of(rows_[row], layer, tensor) ||
                            (last_of_sample_[row] && found == stamp_of(rows_[row - 1], layer, tensor));
      ++(is_right ? right_ : wrong_);
    });
  }
  static std::byte& byte_at(const RecordMemory& memory, std::int64_t byte) {
    const std::int64_t at = memory.offset + byte;
    return memory.base[memory.pages[static_cast<std::size_t>(at / memory.page_bytes)] * memory.page_bytes +
                       at % memory.page_bytes];
  }

  ScriptedDevice device_;
  DecoderOptions options_;
  RecordLayout layout_;
  std::int64_t kv_bytes_ = 0;  // of a token
  std::byte* arena_ = nullptr;
  std::vector<std::uint64_t> rows_;  // of the micro-batch: texts up to each
  std::vector<bool> last_of_sample_;
  std::vector<RowsUnder> under_;
  std::set<std::pair<std::int32_t, std::int32_t>> run_;              // layers and rows of the micro-batch
  std::unordered_map<std::uint64_t, WeightVersion> recorded_under_;  // by text
  std::vector<ScriptedCall> calls_;
  std::vector<double> loss_weights_;
  bool step_is_over_ = true;
  std::int64_t right_ = 0, wrong_ = 0, wrong_versions_ = 0, old_rows_ = 0, trained_tokens_ = 0;
  WeightVersion version_;
  WallClock clock_;
};

}  // namespace alchemist::testing
