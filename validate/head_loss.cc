#include "validate/head_loss.h"

#include <numeric>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr std::int64_t kChunkRows = 256;  // logits of Llama-3's vocabulary in bf16: 66 MB

}  // namespace

template <class T>
HeadLoss<T>::HeadLoss(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights,
                      MetadataBuffer& metadata)
    : device_(device),
      options_(options),
      weights_(weights),
      metadata_(metadata),
      hidden_(device, kChunkRows * options.shape.hidden),
      normed_(device, kChunkRows * options.shape.hidden),
      gradient_(device, kChunkRows * options.shape.hidden),
      logits_(device, kChunkRows * options.shape.vocabulary),
      rstd_(device, kChunkRows),
      loss_(device, options.limits.micro_batch_tokens),
      weight_(device, options.limits.micro_batch_tokens) {}

template <class T>
typename HeadLoss<T>::Targets HeadLoss<T>::find_targets(const PackedBatch& batch, RowRange part) {
  Targets targets;
  std::vector<std::int32_t> ids;
  for (std::size_t s = 0; s < batch.samples().size(); ++s) {
    const RowRange run = intersection(batch.samples()[s].targets, part);
    if (is_empty(run)) continue;
    targets.runs.push_back(run);
    targets.samples.push_back(s);
    targets.run_begin.push_back(static_cast<std::int32_t>(ids.size()));
    const auto next = batch.tokens({run.begin + 1, run.end + 1});
    ids.insert(ids.end(), next.begin(), next.end());
  }
  targets.count = static_cast<std::int64_t>(ids.size());
  targets.run_begin.push_back(static_cast<std::int32_t>(targets.count));
  if (targets.count > 0) targets.ids = metadata_.upload(ids);
  return targets;
}

template <class T>
HeadResult HeadLoss<T>::run(const PackedBatch& batch, RowRange part, T* stream) {
  HeadResult result;
  result.log_prob.resize(batch.samples().size());
  const Targets targets = find_targets(batch, part);
  const bool preference = options_.training.objective == TrainingObjective::dpo;
  if (preference) {
    check(part.begin == 0 && part.end == batch.rows(), "a preference loss needs all rows at once");
    pass(targets, stream, false);
    result.loss = prefer(batch, targets);
  } else {
    upload_weights(batch, targets);
  }
  pass(targets, stream, true);
  zero_others(targets, part, stream);
  if (targets.count == 0) return result;
  std::vector<A> losses(static_cast<std::size_t>(targets.count));
  device_.download(losses.data(), loss_.data(), targets.count * static_cast<std::int64_t>(sizeof(A)));
  for (std::size_t r = 0; r < targets.runs.size(); ++r) {
    const double sum = std::accumulate(losses.begin() + targets.run_begin[r], losses.begin() + targets.run_begin[r + 1],
                                       0.0, [](double s, A loss) { return s + static_cast<double>(loss); });
    result.log_prob[targets.samples[r]] = -sum;
    if (!preference) result.loss += sum * batch.samples()[targets.samples[r]].loss_weight;
  }
  return result;
}

template <class T>
void HeadLoss<T>::upload_weights(const PackedBatch& batch, const Targets& targets) {
  if (targets.count == 0) return;
  std::vector<A> weights;
  for (std::size_t r = 0; r < targets.runs.size(); ++r) {
    const auto rows = static_cast<std::size_t>(targets.runs[r].end - targets.runs[r].begin);
    weights.insert(weights.end(), rows, static_cast<A>(batch.samples()[targets.samples[r]].loss_weight));
  }
  device_.upload(weight_.data(), weights.data(), targets.count * static_cast<std::int64_t>(sizeof(A)));
}

// The weights of tokens from their losses; returns the loss.
template <class T>
double HeadLoss<T>::prefer(const PackedBatch& batch, const Targets& targets) {
  const std::size_t sequences = batch.samples().size(), pairs = sequences / 2;
  std::vector<A> reference;
  for (const PackedBatch::Sample& sample : batch.samples()) {
    reference.push_back(static_cast<A>(sample.reference_logprob));
  }
  DeviceArray<A> pair_loss(device_, static_cast<std::int64_t>(pairs));
  PreferenceLoss<A> call{};
  call.token_loss = loss_.data();
  call.sequence_begin = metadata_.upload(targets.run_begin);
  call.reference_logprob = metadata_.upload(reference);
  call.loss = pair_loss.data();
  call.weight = weight_.data();
  call.pairs = static_cast<std::int64_t>(pairs);
  call.beta = static_cast<A>(options_.dpo_beta);
  call.scale = static_cast<A>(batch.samples().front().loss_weight);
  device_.run(call);
  const std::vector<A> losses = pair_loss.download();
  return std::accumulate(losses.begin(), losses.end(), 0.0) * batch.samples().front().loss_weight;
}

template <class T>
void HeadLoss<T>::pass(const Targets& targets, T* stream, bool gradient) {
  for (std::int64_t first = 0; first < targets.count; first += kChunkRows) {
    run_chunk(targets, first, std::min(kChunkRows, targets.count - first), stream, gradient);
  }
}

template <class T>
void HeadLoss<T>::run_chunk(const Targets& targets, std::int64_t first, std::int64_t count, T* stream, bool gradient) {
  const std::int64_t hidden = options_.shape.hidden, vocabulary = options_.shape.vocabulary;
  const ModelTensors<const T*>& w = weights_.tensors();
  const ModelTensors<A*>& g = weights_.gradients();
  copy_rows(targets, first, count, stream, hidden_.data(), false);
  device_.run(RmsNormForward<T>{hidden_.data(), nullptr, nullptr, w.final_norm, normed_.data(), rstd_.data(), count,
                                hidden, static_cast<A>(options_.norm_epsilon)});
  device_.run(
      LinearForward<T>{normed_.data(), w.head, nullptr, logits_.data(), count, hidden, vocabulary, hidden, vocabulary});
  device_.run(CrossEntropy<T>{logits_.data(), targets.ids + first, weight_.data() + first, loss_.data() + first, count,
                              vocabulary, gradient});
  if (!gradient) return;
  if (g.head) {
    device_.run(LinearWeightGradient<T>{logits_.data(), normed_.data(), g.head, nullptr, count, hidden, vocabulary,
                                        vocabulary, hidden});
  }
  device_.run(
      LinearInputGradient<T>{logits_.data(), w.head, normed_.data(), count, hidden, vocabulary, vocabulary, hidden});
  device_.fill_zero(gradient_.data(), count * hidden * static_cast<std::int64_t>(sizeof(T)));
  device_.run(RmsNormBackward<T>{hidden_.data(), rstd_.data(), w.final_norm, normed_.data(), gradient_.data(),
                                 g.final_norm, count, hidden});
  copy_rows(targets, first, count, stream, gradient_.data(), true);
}

// Targets first .. first + count between the stream and a chunk.
template <class T>
void HeadLoss<T>::copy_rows(const Targets& targets, std::int64_t first, std::int64_t count, T* stream, T* chunk,
                            bool back) {
  const std::int64_t hidden = options_.shape.hidden, bytes = hidden * static_cast<std::int64_t>(sizeof(T));
  for (std::size_t r = 0; r < targets.runs.size(); ++r) {
    const std::int64_t begin = std::max<std::int64_t>(first, targets.run_begin[r]);
    const std::int64_t end = std::min<std::int64_t>(first + count, targets.run_begin[r + 1]);
    if (begin >= end) continue;
    auto* in_stream =
        reinterpret_cast<std::byte*>(stream + (targets.runs[r].begin + begin - targets.run_begin[r]) * hidden);
    auto* in_chunk = reinterpret_cast<std::byte*>(chunk + (begin - first) * hidden);
    device_.run(RowCopy{back ? in_chunk : in_stream, back ? in_stream : in_chunk, end - begin, bytes, bytes, bytes});
  }
}

template <class T>
void HeadLoss<T>::zero_others(const Targets& targets, RowRange part, T* stream) {
  const std::int64_t bytes = options_.shape.hidden * static_cast<std::int64_t>(sizeof(T));
  std::int32_t row = part.begin;
  const auto zero_to = [&](std::int32_t end) {
    if (row < end) device_.fill_zero(stream + row * options_.shape.hidden, (end - row) * bytes);
  };
  for (const RowRange& run : targets.runs) {
    zero_to(run.begin);
    row = run.end;
  }
  zero_to(part.end);
}

template class HeadLoss<float>;
template class HeadLoss<double>;
template class HeadLoss<BFloat16>;

}  // namespace alchemist
