// Reuse: the gradient from activations that serving recorded is the gradient of a fresh forward. In float over BLAS, as
// runs compute. Equal to the bit where the products have the same shapes; a product of other shapes may sum in another
// order, which moves a gradient by a few units in the last place of its largest terms.
#include <algorithm>
#include <cmath>

#include "tests/validate/serving.h"

namespace alchemist {
namespace {

constexpr double kOtherShapes =
    2e-5;  // relative to the gradient's norm; float has 6e-8, over sums of some hundred terms

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

struct Trained {
  TrainingMethod method;
  bool head_norms = false;
};

// Three conversations whose prompts are served, and recorded, in one step. In training the answers are fresh, and so is
// the last token of each prompt, whose final hidden state predicts the first token of the answer.
class Reuse {
 public:
  // The last `left_out` tokens of each prompt have no place in its record.
  explicit Reuse(Trained trained, RecordKind kind = RecordKind::kMinimal, std::int32_t left_out = 0)
      : model(options(trained)),
        samples({{9, 4}, {5, 6}, {12, 3}}, 37),
        kind_(kind),
        left_out_(left_out),
        pages_(kPrimePages) {
    std::int32_t row = 0;
    for (const TrainingSample& sample : samples.list) {
      const auto size = static_cast<std::int32_t>(sample.tokens.size());
      prompts.push_back({row, row + sample.prompt_tokens});
      tails.push_back({row + sample.prompt_tokens - std::max(left_out, 1), row + size});
      row += size;
      requests_.push_back(
          new_request(model, pages_, {sample.tokens.begin(), sample.tokens.begin() + sample.prompt_tokens}));
      records_.push_back(new_paged_record(model, pages_, kind, sample.prompt_tokens - left_out));
    }
  }

  static DecoderOptions options(Trained trained) {
    DecoderOptions result = small_options<float>(trained.method, trained.head_norms);
    result.optimizer.learning_rate = trained.method == TrainingMethod::lora ? 2e-2 : 3e-3;
    return result;
  }

  // Serves all prompts in one step, under the weights of now.
  void serve() {
    std::vector<SequenceStep> steps;
    for (std::size_t s = 0; s < requests_.size(); ++s) {
      requests_[s].computed = 0;
      steps.push_back(requests_[s].next_chunk(static_cast<std::int32_t>(requests_[s].tokens.size())));
      steps.back().record_kind = kind_;
      steps.back().record = records_[s].layers;
      if (left_out_ > 0) steps.back().record_tokens = prompts[s].end - prompts[s].begin - left_out_;
    }
    std::vector<std::int32_t> next(steps.size());
    model->step(steps, next);
  }

  LayerPieces recorded() const {
    LayerPieces pieces(records_.front().layers.size());
    for (std::size_t l = 0; l < pieces.size(); ++l) {
      for (std::size_t s = 0; s < prompts.size(); ++s) {
        const RowRange rows{prompts[s].begin, prompts[s].end - left_out_};
        pieces[l].push_back({rows, kind_, kind_, rows.end - rows.begin, 0, records_[s].layers[l]});
      }
    }
    return pieces;
  }

  // Prompts but for their last tokens from `known`, the rest fresh.
  HeadResult train(LayerPieces known) {
    known = used(std::move(known));
    LayerPieces pieces = run_forward(model, tails, RecordKind::kMinimal, known);
    for (std::size_t l = 0; l < pieces.size(); ++l) {
      pieces[l].insert(pieces[l].begin(), known[l].begin(), known[l].end());
    }
    return run_backward(model, pieces, samples.rows);
  }
  HeadResult train_reusing() {
    return train_with([this] { return recorded(); });
  }
  // The prompts' forward again, in the shape in which serving ran it.
  HeadResult train_recomputing() {
    return train_with([this] { return run_forward(model, prompts, RecordKind::kMinimal); });
  }
  template <class Known>
  HeadResult train_with(const Known& known) {
    model->zero_gradients();
    model->begin_micro_batch(samples.list);
    return train(known());
  }

  // Pieces of prompts without the rows that are fresh.
  LayerPieces used(LayerPieces pieces) const {
    for (std::vector<ActivationPiece>& layer : pieces) {
      for (ActivationPiece& piece : layer) {
        const auto tail = std::find_if(tails.begin(), tails.end(),
                                       [&](const RowRange& range) { return range.end > piece.rows.begin; });
        piece.rows.end = std::min(piece.rows.end, tail->begin);
      }
    }
    return pieces;
  }

  TestDecoder<float> model;
  Samples samples;
  std::vector<RowRange> prompts, tails;

 private:
  static constexpr std::int32_t kPrimePages = 61;
  RecordKind kind_;
  std::int32_t left_out_;
  PageList pages_;
  std::vector<Served> requests_;
  std::vector<PagedRecord> records_;
};

class ReuseByMethod : public testing::TestWithParam<Trained> {};
INSTANTIATE_TEST_SUITE_P(Methods, ReuseByMethod,
                         testing::Values(Trained{TrainingMethod::lora}, Trained{TrainingMethod::full},
                                         Trained{TrainingMethod::lora, true}, Trained{TrainingMethod::full, true}),
                         [](const auto& param) {
                           return std::string(param.param.method == TrainingMethod::lora ? "lora" : "full") +
                                  (param.param.head_norms ? "_head_norms" : "");
                         });

TEST_P(ReuseByMethod, ResidentRecordGivesTheGradientOfRecomputingToTheBit) {
  Reuse reuse(GetParam());
  reuse.serve();
  const double loss = reuse.train_reusing().loss;
  const std::vector<double> reused = reuse.model->gradients();
  EXPECT_EQ(loss, reuse.train_recomputing().loss);
  EXPECT_EQ(reused, reuse.model->gradients());
}

// Nothing of the record decides: everything fresh, all samples in one forward.
TEST_P(ReuseByMethod, IsTheGradientOfAFreshForward) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_reusing();
  const std::vector<double> reused = reuse.model->gradients();
  train_fresh(reuse.model, reuse.samples);
  EXPECT_LT(relative_error(reused, reuse.model->gradients()), kOtherShapes);
}

// Memory sufficed for the first tokens of each prompt alone.
TEST_P(ReuseByMethod, RecordsOfTheFirstTokensOfAPromptSaveTheirForward) {
  for (const RecordKind kind : {RecordKind::kMinimal, RecordKind::kLean}) {
    Reuse reuse(GetParam(), kind, 3);
    reuse.serve();
    reuse.train_reusing();
    const std::vector<double> reused = reuse.model->gradients();
    train_fresh(reuse.model, reuse.samples);
    EXPECT_LT(relative_error(reused, reuse.model->gradients()), kOtherShapes);
  }
}

// The last tokens of the prompts from the record too: their final hidden states are rebuilt from the last layer's
// activations, in products of other shapes.
TEST_P(ReuseByMethod, FinalHiddenStatesComeFromTheRecord) {
  for (const RecordKind kind : {RecordKind::kMinimal, RecordKind::kLean}) {
    Reuse reuse(GetParam(), kind);
    reuse.serve();
    reuse.train_recomputing();
    const std::vector<double> recomputed = reuse.model->gradients();
    for (RowRange& tail : reuse.tails) ++tail.begin;
    reuse.train_reusing();
    EXPECT_LT(relative_error(reuse.model->gradients(), recomputed), kOtherShapes);
  }
}

// Out to the host and back, where the pages were others' in between.
TEST_P(ReuseByMethod, OffloadedAndReloadedRecordIsTheSameToTheBit) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_reusing();
  const std::vector<double> resident = reuse.model->gradients();
  Device<float>& device = reuse.model.device();
  const std::int64_t bytes = TestDecoder<float>::kPages * reuse.model->page_bytes();
  void* host = device.allocate_host(bytes);
  device.link_copy(CopyDirection::kDeviceToHost, host, reuse.model.arena(), bytes);
  device.link_wait(CopyDirection::kDeviceToHost);
  device.fill_zero(reuse.model.arena(), bytes);
  device.link_copy(CopyDirection::kHostToDevice, reuse.model.arena(), host, bytes);
  device.link_wait(CopyDirection::kHostToDevice);
  device.free_host(host);
  reuse.train_reusing();
  EXPECT_EQ(resident, reuse.model->gradients());
}

// Race: layers below the meeting layer are recomputed, the others come from the record.
TEST_P(ReuseByMethod, RaceIsTheSameToTheBit) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_recomputing();
  const std::vector<double> recomputed = reuse.model->gradients();
  for (std::size_t meeting = 0; meeting <= 3; ++meeting) {
    reuse.train_with([&] {
      const LayerPieces fresh = run_forward(reuse.model, reuse.prompts, RecordKind::kMinimal);
      LayerPieces pieces = reuse.recorded();
      std::copy_n(fresh.begin(), meeting, pieces.begin());
      return pieces;
    });
    EXPECT_EQ(recomputed, reuse.model->gradients()) << "meeting at layer " << meeting;
  }
}

// Planned: of some tokens gate and up do not come back and are rebuilt, in products of other shapes than the forward's.
TEST_P(ReuseByMethod, PlannedRebuildsGateAndUp) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_recomputing();
  const std::vector<double> recomputed = reuse.model->gradients();
  reuse.train_with([&] {
    LayerPieces pieces = reuse.recorded();
    for (std::vector<ActivationPiece>& layer : pieces) {
      ActivationPiece first = layer[0], second = layer[0];  // 4 tokens lean, the rest whole, of one record
      first.kind = RecordKind::kLean;
      first.rows.end = second.rows.begin = first.rows.begin + 4;
      second.first_token = 4;
      layer[0] = first;
      layer.push_back(second);
      layer[1].kind = RecordKind::kLean;
    }
    return pieces;
  });
  EXPECT_LT(relative_error(reuse.model->gradients(), recomputed), kOtherShapes);
}

TEST_P(ReuseByMethod, LeanRecord) {
  Reuse lean(GetParam(), RecordKind::kLean);
  lean.serve();
  lean.train_reusing();
  const std::vector<double> from_lean = lean.model->gradients();
  lean.train_recomputing();
  EXPECT_LT(relative_error(from_lean, lean.model->gradients()), kOtherShapes);
}

TEST_P(ReuseByMethod, CheckpointedLayers) {
  Reuse reuse(GetParam());
  train_fresh(reuse.model, reuse.samples, RecordKind::kMinimal);
  const std::vector<double> kept = reuse.model->gradients();
  train_fresh(reuse.model, reuse.samples, RecordKind::kInput);
  EXPECT_LT(relative_error(reuse.model->gradients(), kept), kOtherShapes);
}

// What a layer's pieces lack is rebuilt part by part: parts that end within a sample, and within a piece.
TEST_P(ReuseByMethod, DividedBackwardRebuildsWhatIsMissing) {
  Reuse reuse(GetParam());
  for (const RecordKind kind : {RecordKind::kInput, RecordKind::kLean}) {
    train_fresh(reuse.model, reuse.samples, kind);
    const std::vector<double> whole = reuse.model->gradients();
    reuse.model->zero_gradients();
    reuse.model->begin_micro_batch(reuse.samples.list);
    const LayerPieces pieces = run_forward(reuse.model, reuse.samples.whole(), kind);
    reuse.model->head({{0, reuse.samples.rows}, pieces.back()});
    for (std::int32_t layer = 2; layer >= 0; --layer) {
      for (const RowRange& part : {RowRange{30, 39}, RowRange{11, 30}, RowRange{0, 11}}) {
        reuse.model->backward_layer({layer, part, pieces[static_cast<std::size_t>(layer)]});
      }
    }
    EXPECT_LT(relative_error(reuse.model->gradients(), whole), kOtherShapes);
  }
}

// A layer's forward and backward, and the head, in parts, as serving leaves room for them.
TEST_P(ReuseByMethod, DividedPieces) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_reusing();
  const std::vector<double> whole = reuse.model->gradients();
  reuse.model->zero_gradients();
  reuse.model->begin_micro_batch(reuse.samples.list);
  LayerPieces pieces = reuse.used(reuse.recorded());
  for (std::size_t l = 0; l < pieces.size(); ++l) {
    const auto layer = static_cast<std::int32_t>(l);
    std::vector<ActivationPiece> known = pieces[l];
    for (const RowRange& tail : reuse.tails) {  // one range at a time, cut in two
      const std::int32_t size = tail.end - tail.begin;
      ActivationPiece record{tail,
                             RecordKind::kMinimal,
                             RecordKind::kMinimal,
                             size,
                             0,
                             reuse.model.new_record(RecordKind::kMinimal, size)};
      for (const RowRange& rows : {RowRange{tail.begin, tail.begin + 1}, RowRange{tail.begin + 1, tail.end}}) {
        ActivationPiece part = record;
        part.rows = rows;
        part.first_token = rows.begin - tail.begin;
        reuse.model->forward_layer({layer, std::span(&rows, 1), known, std::span(&part, 1)});
        known.clear();  // the layer's keys and values are at hand
      }
      pieces[l].push_back(record);
    }
  }
  // Rows 8, 17 and 34 are the last of their prompts.
  for (const RowRange& part : {RowRange{0, 10}, RowRange{10, 17}, RowRange{17, 39}}) {
    reuse.model->head({part, pieces.back()});
  }
  for (std::int32_t layer = 2; layer >= 0; --layer) {
    for (const RowRange& part : {RowRange{30, 39}, RowRange{11, 30}, RowRange{0, 11}}) {
      reuse.model->backward_layer({layer, part, pieces[static_cast<std::size_t>(layer)]});
    }
  }
  EXPECT_LT(relative_error(reuse.model->gradients(), whole), kOtherShapes);
}

// Every tensor of a record matters: one wrong element of one layer's record, of the last token that is used,
// and the gradient is another. Except in the last layer: there a token without a target gets its gradient by way of its
// keys and values alone, so that what lies behind attention does not matter.
TEST_P(ReuseByMethod, PlantedErrorIsSeen) {
  Reuse reuse(GetParam());
  reuse.serve();
  reuse.train_recomputing();
  const std::vector<double> recomputed = reuse.model->gradients();
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    for (const RecordTensor tensor : reuse.model.layout().tensors(RecordKind::kMinimal)) {
      const ActivationPiece piece = reuse.recorded()[static_cast<std::size_t>(layer)][2];
      const RecordLayout layout = reuse.model.layout();
      const std::int64_t at = piece.memory.offset - layout.row_bytes(tensor) - 4 +
                              layout.range(RecordKind::kMinimal, tensor, piece.record_tokens).end;
      float* element = reinterpret_cast<float*>(
          piece.memory.base +
          piece.memory.pages[static_cast<std::size_t>(at / piece.memory.page_bytes)] * piece.memory.page_bytes +
          at % piece.memory.page_bytes);
      const float right = *element;
      *element = right * 1.01f + 0.01f;
      reuse.train_reusing();
      const bool matters = layer < 2 || tensor == RecordTensor::kX || tensor == RecordTensor::kKeyValue ||
                           tensor == RecordTensor::kRstd1 || tensor == RecordTensor::kHeadRstd;
      EXPECT_EQ(recomputed != reuse.model->gradients(), matters)
          << "layer " << layer << ", tensor " << static_cast<int>(tensor);
      *element = right;
    }
  }
  reuse.train_reusing();
  EXPECT_EQ(recomputed, reuse.model->gradients());
}

// 50 steps, each on records made under its own weights: the same losses, to the bit, as without records; and training
// works: the loss falls by more than half, with adapters by more than a tenth (in front of a frozen head of small
// random weights no hidden state can make logits large).
TEST_P(ReuseByMethod, LossOver50StepsIsTheSameCurve) {
  Reuse with(GetParam()), without(GetParam());
  std::vector<double> losses, others;
  for (int step = 0; step < 50; ++step) {
    with.serve();
    losses.push_back(with.train_reusing().loss);
    with.model->optimizer_step();
    others.push_back(without.train_recomputing().loss);
    without.model->optimizer_step();
  }
  EXPECT_EQ(losses, others);
  const double expected_fall = GetParam().method == TrainingMethod::lora ? 0.4 : losses.front() / 2;
  EXPECT_GT(losses.front() - losses.back(), expected_fall);
  EXPECT_EQ(with.model->version(), WeightVersion(50));
}

}  // namespace
}  // namespace alchemist
