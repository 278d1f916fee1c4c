// The whole model on the emulated GPU in bf16: against the CPU in double, and reuse against recompute to the bit.
#include <cmath>

#include "kernels/cuda/device.h"
#include "tests/validate/serving.h"
#include "validate/kept_weights.h"

namespace alchemist {
namespace {

// Two layers with grouped queries; widths of whole runs of eight, and a head dimension that the kernels know.
DecoderOptions options_of(TrainingMethod method, std::int64_t element_bytes, bool head_norms = false) {
  DecoderOptions options;
  options.shape = {"emulated", 2, 64, 96, 4, 2, 32, 40, 64, true, false, element_bytes};
  options.shape.qk_norm = head_norms;
  options.training.method = method;
  options.training.lora_rank = 8;
  options.lora_alpha = 4;  // softmaxes as flat as those of trained models: sharp ones magnify every rounding
  options.limits = {.step_tokens = 64, .step_sequences = 8, .micro_batch_tokens = 64, .block_size = 4};
  options.seed = 7;
  return options;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double x : values) sum += x * x;
  return std::sqrt(sum);
}

double relative_error(std::vector<double> a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm(a) / norm(b);
}

class EmulatedDecoder : public testing::TestWithParam<TrainingMethod> {};
INSTANTIATE_TEST_SUITE_P(Methods, EmulatedDecoder, testing::Values(TrainingMethod::lora, TrainingMethod::full),
                         [](const auto& param) { return param.param == TrainingMethod::lora ? "lora" : "full"; });

// Weights and every activation are rounded to bf16 (at most 2^-8 each, 2^-9 in the mean): some dozen roundings of
// random sign on each path through two layers and back. A wrong or missing term is of the order of the gradient.
TEST_P(EmulatedDecoder, LossAndGradientAreThoseOfDouble) {
  for (const bool head_norms : {false, true}) {
    SCOPED_TRACE(head_norms);
    const Samples samples({{9, 4}, {5, 6}, {12, 3}}, 40);
    TestDecoder<BFloat16> gpu(options_of(GetParam(), 2, head_norms), cuda::make_device(0));
    TestDecoder<double> cpu(options_of(GetParam(), 8, head_norms));
    cpu->set_trained_parameters(gpu->trained_parameters());
    const double gpu_loss = train_fresh(gpu, samples).loss, cpu_loss = train_fresh(cpu, samples).loss;
    EXPECT_NEAR(gpu_loss, cpu_loss, 0.01 * cpu_loss);
    EXPECT_LT(relative_error(gpu->gradients(), cpu->gradients()), 0.03);
  }
}

// The gradient with adapters of now, and others for the rows of two prompts and of one answer.
template <class T>
std::vector<double> late_gradient(TestDecoder<T>& model, const Samples& samples, const std::vector<double>& now,
                                  const std::vector<double>& old) {
  KeptWeights kept(*model, 1);
  model->set_trained_parameters(old);
  kept.keep();
  model->optimizer_step();
  model->set_trained_parameters(now);
  const std::byte* copy = kept.find(WeightVersion(0));
  const std::vector<RowsUnder> under = {{{0, 9}, copy}, {{13, 18}, copy}, {{20, 24}, copy}};
  model->zero_gradients();
  model->begin_micro_batch(samples.list, false, under);
  run_backward(model, run_forward(model, samples.whole(), RecordKind::kMinimal), samples.rows);
  return model->gradients();
}

TEST(EmulatedLora, LateGradientsAreThoseOfDouble) {
  const Samples samples({{9, 4}, {5, 6}, {12, 3}}, 40);
  TestDecoder<BFloat16> gpu(options_of(TrainingMethod::lora, 2), cuda::make_device(0));
  TestDecoder<double> cpu(options_of(TrainingMethod::lora, 8));
  const std::vector<double> old = gpu->trained_parameters();
  std::vector<double> moved = old;
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] *= i % 3 == 0 ? -1 : 1;  // exact in bf16
  const std::vector<double> late = late_gradient(cpu, samples, moved, old);
  EXPECT_LT(relative_error(late_gradient(gpu, samples, moved, old), late), 0.03);
  train_fresh(cpu, samples);
  EXPECT_GT(relative_error(cpu->gradients(), late), 0.3) << "without old adapters";
}

// Prompts served in one step with recording; training reuses the records, or runs the same products again.
void expect_reuse_is_recompute(TestDecoder<BFloat16>& model, const Samples& samples) {
  PageList pages(157);
  std::vector<Served> requests;
  std::vector<PagedRecord> records;
  std::vector<SequenceStep> steps;
  for (const TrainingSample& sample : samples.list) {
    const auto prompt = sample.tokens.first(static_cast<std::size_t>(sample.prompt_tokens));
    requests.push_back(new_request(model, pages, {prompt.begin(), prompt.end()}));
    records.push_back(new_paged_record(model, pages, RecordKind::kMinimal, sample.prompt_tokens));
  }
  for (std::size_t s = 0; s < requests.size(); ++s) {
    steps.push_back(requests[s].next_chunk(static_cast<std::int32_t>(requests[s].tokens.size())));
    steps.back().record = records[s].layers;
  }
  std::vector<std::int32_t> next(steps.size());
  model->step(steps, next);

  std::vector<RowRange> prompts, answers;
  for (const RowRange& whole : samples.whole()) {
    const auto prompt = static_cast<std::int32_t>(requests[prompts.size()].tokens.size());
    prompts.push_back({whole.begin, whole.begin + prompt});
    answers.push_back({whole.begin + prompt, whole.end});
  }
  const auto gradient = [&](const LayerPieces& known) {
    LayerPieces pieces = run_forward(model, answers, RecordKind::kMinimal, known);
    for (std::size_t l = 0; l < pieces.size(); ++l) pieces[l].insert(pieces[l].end(), known[l].begin(), known[l].end());
    run_backward(model, pieces, samples.rows);
    return model->gradients();
  };
  model->zero_gradients();
  model->begin_micro_batch(samples.list);
  LayerPieces recorded(2);
  for (std::size_t l = 0; l < recorded.size(); ++l)
    for (std::size_t s = 0; s < prompts.size(); ++s)
      recorded[l].push_back({prompts[s], RecordKind::kMinimal, RecordKind::kMinimal, prompts[s].end - prompts[s].begin,
                             0, records[s].layers[l]});
  const std::vector<double> reused = gradient(recorded);
  model->zero_gradients();
  model->begin_micro_batch(samples.list);
  const std::vector<double> recomputed = gradient(run_forward(model, prompts, RecordKind::kMinimal));
  EXPECT_EQ(reused, recomputed);
  EXPECT_GT(norm(reused), 0);
}

TEST_P(EmulatedDecoder, ReuseIsRecomputeToTheBit) {
  for (const bool head_norms : {false, true}) {
    SCOPED_TRACE(head_norms);
    TestDecoder<BFloat16> model(options_of(GetParam(), 2, head_norms), cuda::make_device(0));
    expect_reuse_is_recompute(model, Samples({{9, 4}, {12, 3}}, 40));
  }
}

// With heads and a prompt that are long enough for warpgroups, in serving and in training.
TEST_P(EmulatedDecoder, ReuseIsRecomputeToTheBitByWarpgroups) {
  DecoderOptions options = options_of(GetParam(), 2);
  options.shape.heads = 2;
  options.shape.kv_heads = 1;
  options.shape.head_dim = 64;
  options.shape.max_position = 128;
  options.limits.step_tokens = options.limits.micro_batch_tokens = 128;
  TestDecoder<BFloat16> model(options, cuda::make_device(0, cuda::AttentionBy::hopper));
  expect_reuse_is_recompute(model, Samples({{70, 4}, {12, 3}}, 40));
}

// What the optimizer rounds its parameters from is set with them: without a gradient a step leaves them as they were
// set.
TEST_P(EmulatedDecoder, WeightsThatAreSetStay) {
  const DecoderOptions options = options_of(GetParam(), 2);
  TestDecoder<BFloat16> model(options, cuda::make_device(0)), other(options, cuda::make_device(0));
  std::vector<Decoder::NamedTensor> weights = other->named_weights();
  for (Decoder::NamedTensor& weight : weights) {
    for (double& value : weight.values) value *= 2;
    model->set_named_weight(weight);
  }
  model->zero_gradients();
  model->optimizer_step();
  const std::vector<Decoder::NamedTensor> after = model->named_weights();
  for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_EQ(after[i].values, weights[i].values) << weights[i].name;
}

// A prompt computed at once and its last token in a decode of its own: the same next token.
TEST(EmulatedDecoder, DecodeContinuesAPrefill) {
  TestDecoder<BFloat16> model(options_of(TrainingMethod::lora, 2), cuda::make_device(0));
  PageList pages(61);
  const std::vector<std::int32_t> tokens = random_tokens(23, 40, 5);
  Served whole = new_request(model, pages, tokens), parts = new_request(model, pages, tokens);
  std::vector<std::int32_t> expected(1), next(1);
  model->step(std::vector{whole.next_chunk(23)}, expected);
  model->step(std::vector{parts.next_chunk(10)}, next);
  model->step(std::vector{parts.next_chunk(12)}, next);
  model->step(std::vector{parts.next_chunk(1)}, next);
  EXPECT_EQ(next, expected);
}

}  // namespace
}  // namespace alchemist
