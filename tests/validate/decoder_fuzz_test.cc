// Micro-batches at random: rows come from the forward in random portions and parts, are kept in random ways, and go
// through backward in random parts. However that falls out, in double the gradient is that of a plain fresh run.
#include <cmath>

#include "tests/validate/support.h"
#include "validate/device_array.h"

namespace alchemist {
namespace {

class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed, "fuzz") {
    const bool full = flip();
    options_ = small_options<double>(full ? TrainingMethod::full : TrainingMethod::lora);
    options_.shape.qkv_bias = flip();
    options_.shape.tied_embeddings = flip();
    options_.shape.qk_norm = flip();
    options_.shape.layers = random_.uniform_int(1, 3);
    while (batch_tokens_.empty() || (batch_tokens_.size() < 4 && flip())) {
      batch_tokens_.push_back(random_tokens(random_.uniform_int(2, 14), 37, random_.bits()));
    }
    std::int32_t row = 0;
    for (const auto& tokens : batch_tokens_) {
      const auto size = static_cast<std::int32_t>(tokens.size());
      samples_.push_back({tokens, static_cast<std::int32_t>(random_.uniform_int(1, size - 1)), random_.uniform(), 0});
      whole_.push_back({row, row + size});
      row += size;
    }
    rows_ = row;
    // Up to two other sets of adapters, each with rows of its own, whole samples or not.
    for (int i = 0; !full && i < 8 && flip(); ++i) {
      const RowRange rows{i * rows_ / 8, (i + 1) * rows_ / 8};
      if (rows.begin < rows.end) under_.push_back({rows, flip()});
    }
  }

  void compare() {
    TestDecoder<double> model(options_);
    const std::vector<double> own = model->trained_parameters();
    std::vector<DeviceArray<std::byte>> copies;
    for (std::uint64_t copy = 0; copy < 2; ++copy) {
      RandomStream random(copy, "adapters");
      std::vector<double> moved = own;
      for (double& value : moved) value += 0.1 * random.normal();
      model->set_trained_parameters(moved);
      copies.emplace_back(model.device(), model->trained_bytes());
      model->copy_trained(copies.back().data());
    }
    model->set_trained_parameters(own);
    std::vector<RowsUnder> under;
    for (const auto& [rows, copy] : under_) under.push_back({rows, copies[copy].data()});
    model->begin_micro_batch(samples_, false, under);
    const double loss = run_backward(model, run_forward(model, whole_, RecordKind::kMinimal), rows_).loss;
    const std::vector<double> expected = model->gradients();

    model->zero_gradients();
    model->begin_micro_batch(samples_, false, under);
    const LayerPieces pieces = forward_in_portions(model);
    double parts_loss = 0;
    for (const RowRange& part : random_parts({0, rows_})) parts_loss += model->head({part, pieces.back()}).loss;
    for (auto layer = static_cast<std::int32_t>(pieces.size()) - 1; layer >= 0; --layer) {
      std::vector<RowRange> parts = random_parts({0, rows_});
      std::reverse(parts.begin(), parts.end());
      for (const RowRange& part : parts) {
        model->backward_layer({layer, part, pieces[static_cast<std::size_t>(layer)]});
      }
    }
    EXPECT_NEAR(parts_loss, loss, 1e-12 * std::max(1.0, loss));
    const std::vector<double> gradient = model->gradients();
    double largest = 0;
    for (const double g : expected) largest = std::max(largest, std::abs(g));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(gradient[i], expected[i], 1e-11 * std::max(1.0, largest)) << "parameter " << i;
    }
  }

 private:
  bool flip() { return random_.uniform() < 0.5; }

  // A range in random parts, in order.
  std::vector<RowRange> random_parts(RowRange range) {
    std::vector<RowRange> parts = {range};
    while (parts.back().end - parts.back().begin > 1 && random_.uniform() < 0.6) {
      RowRange& last = parts.back();
      const auto cut = static_cast<std::int32_t>(random_.uniform_int(last.begin + 1, last.end - 1));
      const RowRange rest{cut, last.end};
      last.end = cut;
      parts.push_back(rest);
    }
    return parts;
  }

  // Two passes through all layers: first some head of each sample, then its rest on top of what was kept of the head.
  // What a piece is kept as does not have to be all of what its memory has room for.
  LayerPieces forward_in_portions(TestDecoder<double>& model) {
    std::vector<RowRange> heads, rests;
    for (const RowRange& sample : whole_) {
      const auto cut = static_cast<std::int32_t>(random_.uniform_int(sample.begin, sample.end));
      if (cut > sample.begin) heads.push_back({sample.begin, cut});
      if (cut < sample.end) rests.push_back({cut, sample.end});
    }
    const auto layers = static_cast<std::size_t>(options_.shape.layers);
    LayerPieces pieces(layers), known(layers);
    for (const auto* portion : {&heads, &rests}) {
      if (portion->empty()) continue;
      for (std::size_t l = 0; l < layers; ++l) {
        const bool last = l + 1 == layers;
        run_layer(model, static_cast<std::int32_t>(l), *portion, portion == &heads || last, known[l], pieces[l]);
      }
      for (std::size_t l = 0; l < layers; ++l) known[l] = pieces[l];
    }
    return pieces;
  }

  // One layer, in one call or a call for each range's part. `readable`: others will read keys and values of these rows,
  // so that their input alone does not do.
  void run_layer(TestDecoder<double>& model, std::int32_t layer, const std::vector<RowRange>& ranges, bool readable,
                 const std::vector<ActivationPiece>& known, std::vector<ActivationPiece>& pieces) {
    std::vector<RowRange> calls;
    std::vector<ActivationPiece> kept;
    for (const RowRange& range : ranges) {
      const auto kind = static_cast<RecordKind>(random_.uniform_int(0, readable ? 1 : 2));
      const std::int32_t tokens = range.end - range.begin + 2;  // the record has a token before and one behind
      const RecordMemory memory = model.new_record(kind, tokens);
      for (const RowRange& part : random_parts(range)) {
        kept.push_back({part, kind, kind, tokens, 1 + part.begin - range.begin, memory});
        calls.push_back(part);
      }
    }
    if (flip()) {
      model->forward_layer({layer, calls, known, kept});
    } else {
      for (std::size_t i = 0; i < calls.size(); ++i) {
        const auto front = i == 0 ? std::span<const ActivationPiece>(known) : std::span<const ActivationPiece>();
        model->forward_layer({layer, std::span(calls).subspan(i, 1), front, std::span(kept).subspan(i, 1)});
      }
    }
    for (ActivationPiece piece : kept) {
      if (piece.kind == RecordKind::kMinimal && flip()) piece.kind = RecordKind::kLean;
      pieces.push_back(piece);
    }
  }

  RandomStream random_;
  DecoderOptions options_;
  std::vector<std::vector<std::int32_t>> batch_tokens_;
  std::vector<TrainingSample> samples_;
  std::vector<RowRange> whole_;
  std::vector<std::pair<RowRange, bool>> under_;  // which of two copies
  std::int32_t rows_ = 0;
};

TEST(DecoderFuzz, AnyWayOfTrainingGivesTheGradient) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun(seed).compare();
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace alchemist
