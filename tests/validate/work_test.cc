// The real model asks the machine for what the simulator's layer graph says: FLOP by FLOP, from the calls that a
// layer's pieces make.
#include "sim/model/layer_costs.h"
#include "tests/validate/support.h"

namespace alchemist {
namespace {

// Runs nothing: counts.
class CountingDevice final : public Device<float> {
 public:
  CountingDevice() : memory_(cpu::make_device<float>(std::int64_t{1} << 30)) {}
  double take_flops() { return std::exchange(flops_, 0.0); }

  std::string description() const override { return "counts"; }
  std::int64_t usable_bytes() const override { return memory_->usable_bytes(); }
  void* allocate(std::int64_t bytes) override { return memory_->allocate(bytes); }
  void free(void* device) noexcept override { memory_->free(device); }
  void* allocate_host(std::int64_t bytes) override { return memory_->allocate_host(bytes); }
  void free_host(void* host) noexcept override { memory_->free_host(host); }
  void fill_zero(void* device, std::int64_t bytes) override { memory_->fill_zero(device, bytes); }
  void upload(void* device, const void* host, std::int64_t bytes) override { memory_->upload(device, host, bytes); }
  void download(void* host, const void* device, std::int64_t bytes) override { memory_->download(host, device, bytes); }
  void link_copy(CopyDirection, void*, const void*, std::int64_t) override {}
  void link_wait(CopyDirection) override {}
  void synchronise() override {}

  void run(const EmbeddingForward<float>& call) override { count(call); }
  void run(const EmbeddingBackward<float>&) override {}
  void run(const RmsNormForward<float>& call) override { count(call); }
  void run(const RmsNormRebuild<float>& call) override { count(call); }
  void run(const RmsNormBackward<float>& call) override { count(call); }
  void run(const Rotary<float>& call) override { count(call); }
  void run(const HeadNormForward<float>& call) override { count(call); }
  void run(const HeadNormBackward<float>& call) override { count(call); }
  void run(const LinearForward<float>& call) override { count(call); }
  void run(const LinearInputGradient<float>& call) override { count(call); }
  void run(const LinearWeightGradient<float>& call) override { count(call); }
  void run(const AttentionForward<float>& call) override { count_attention(call); }
  void run(const AttentionBackward<float>& call) override { count_attention(call); }
  void run(const KvCacheWrite<float>& call) override { count(call); }
  void run(const PagedAttention<float>&) override {}
  void run(const GatedActivationForward<float>& call) override { count(call); }
  void run(const GatedActivationBackward<float>& call) override { count(call); }
  void run(const ResidualAdd<float>& call) override { count(call); }
  void run(const CrossEntropy<float>& call) override { count(call); }
  void run(const Argmax<float>& call) override { count(call); }
  void run(const PreferenceLoss<float>&) override {}
  void run(const AdamW<float>& call) override { count(call); }
  void run(const RoundRows<float>&) override {}
  void run(const RecordCopy& call) override { count(call); }
  void run(const KeepRows& call) override { count(call); }
  void run(const RowCopy& call) override { count(call); }
  void run(const RandomFill<float>&) override {}

 private:
  template <class Call>
  void count(const Call& call) {
    flops_ += cost(call).flops;
  }
  template <class Call>
  void count_attention(const Call& call) {
    double queries = 0, keys = 0, attended = 0;
    for (std::int32_t s = 0; s < call.shape.sequences; ++s) {
      const AttentionRows& rows = call.shape.rows[s];
      queries += rows.queries;
      keys += rows.keys;
      attended += attended_keys(PrefillChunk{rows.queries, rows.keys - rows.queries});
    }
    flops_ += cost(call, queries, keys, attended).flops;
  }

  std::unique_ptr<Device<float>> memory_;
  double flops_ = 0;
};

// Two samples of 12 and 7 tokens, the first 4 of the first known.
class WorkOfAModel {
 public:
  explicit WorkOfAModel(TrainingMethod method) : options_(small_options<float>(method)) {
    model_ = make_decoder(device_, options_);
    costs_ = layer_costs(build_layer_graph(options_.shape, options_.training));
    memory_.resize(static_cast<std::size_t>(19 * RecordLayout(options_.shape).bytes_per_token(RecordKind::kMinimal)));
    model_->begin_micro_batch(samples_.list);
    device_.take_flops();
  }
  ActivationPiece piece(RowRange rows, RecordKind kind = RecordKind::kMinimal) {
    return {rows, kind, RecordKind::kMinimal, 19, rows.begin, contiguous_memory(memory_.data())};
  }
  double forward_flops() {
    const ActivationPiece known = piece({0, 4});
    const RowRange rows[] = {{4, 12}, {12, 19}};
    model_->forward_layer({0, rows, std::span(&known, 1), {}});
    return device_.take_flops();
  }
  double backward_flops(RecordKind kind, RowRange part = {0, 19}) {
    const ActivationPiece pieces[] = {piece({0, 19}, kind)};
    model_->backward_layer({1, part, pieces});
    return device_.take_flops();
  }
  static double flops(const Work& work, double tokens, double keys) {
    return tokens * (work.matrix_flops_per_token + work.vector_flops_per_token) +
           keys * (work.matrix_flops_per_key + work.vector_flops_per_key);
  }
  const LayerCosts& costs() const { return costs_; }
  const ModelShape& shape() const { return options_.shape; }

 private:
  DecoderOptions options_;
  Samples samples_{{{8, 4}, {3, 4}}, 37};
  CountingDevice device_;
  std::unique_ptr<Decoder> model_;
  LayerCosts costs_;
  std::vector<std::byte> memory_;
};

// Rows 4..11 attend to 5 + ... + 12 = 68 keys, rows 12..18 to 1 + ... + 7 = 28.
TEST(Work, ForwardIsTheLayerGraphs) {
  for (const TrainingMethod method : {TrainingMethod::lora, TrainingMethod::full}) {
    WorkOfAModel model(method);
    EXPECT_DOUBLE_EQ(model.forward_flops(), WorkOfAModel::flops(model.costs().forward.work(), 15, 68 + 28));
  }
}

// All 19 rows attend to 12 * 13 / 2 + 7 * 8 / 2 = 106 keys. Beyond the graph's backward the norms' outputs are rebuilt
// (the gated product is, inside its own backward); gate and up too where the record is lean.
TEST(Work, BackwardOfFullFineTuningIsTheLayerGraphs) {
  WorkOfAModel model(TrainingMethod::full);
  const double norms = 2 * 19 * norm_scale_work(24).vector_flops_per_token;
  const double backward = WorkOfAModel::flops(model.costs().backward.work(), 19, 106) + norms;
  EXPECT_DOUBLE_EQ(model.backward_flops(RecordKind::kMinimal), backward);
}

// With LoRA the adapters' narrow products x A^T are rebuilt as well: of width 24 for q, k, v, o, gate and up (q_width
// is 24 too), of width 20 for down.
TEST(Work, BackwardOfLoraIsTheLayerGraphs) {
  WorkOfAModel model(TrainingMethod::lora);
  const double norms = 2 * 19 * norm_scale_work(24).vector_flops_per_token;
  const double adapters =
      19 * (6 * linear_work(24, 3).matrix_flops_per_token + linear_work(20, 3).matrix_flops_per_token);
  const double backward = WorkOfAModel::flops(model.costs().backward.work(), 19, 106) + norms + adapters;
  EXPECT_DOUBLE_EQ(model.backward_flops(RecordKind::kMinimal), backward);
}

TEST(Work, LeanRecordsCostTwoProductsMore) {
  WorkOfAModel minimal(TrainingMethod::full), lean(TrainingMethod::full);
  const ModelShape& shape = lean.shape();
  const double products = 19 * linear_work(shape.hidden, 2 * shape.intermediate).matrix_flops_per_token;
  const double norm = 19 * norm_scale_work(shape.hidden).vector_flops_per_token;
  EXPECT_DOUBLE_EQ(lean.backward_flops(RecordKind::kLean) - minimal.backward_flops(RecordKind::kMinimal),
                   products + norm);
}

// So that a part that fits between two serving steps takes no longer than its rows do.
TEST(Work, PartsOfABackwardRebuildTheirOwnRows) {
  WorkOfAModel minimal(TrainingMethod::lora), lean(TrainingMethod::lora);
  for (const RowRange part : {RowRange{14, 19}, RowRange{3, 14}, RowRange{0, 3}}) {
    const double rows = part.end - part.begin;
    const double rebuilt = lean.backward_flops(RecordKind::kLean, part);
    const double whole = minimal.backward_flops(RecordKind::kMinimal, part);
    const ModelShape& shape = lean.shape();
    const double adapters =  // those of gate and up, side by side
        linear_work(shape.hidden, 2 * 3).matrix_flops_per_token +
        2 * linear_work(3, shape.intermediate).matrix_flops_per_token;
    EXPECT_DOUBLE_EQ(rebuilt - whole, rows * (linear_work(shape.hidden, 2 * shape.intermediate).matrix_flops_per_token +
                                              norm_scale_work(shape.hidden).vector_flops_per_token + adapters));
  }
}

}  // namespace
}  // namespace alchemist
