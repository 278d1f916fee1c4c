#include "validate/serving_run.h"

#include <utility>

#include "sim/base/check.h"

namespace alchemist {

template <class T>
ServingRun<T>::ServingRun(Device<T>& device, const DecoderOptions& options, const Weights<T>& weights,
                          LayerRun<T>& layers)
    : device_(device),
      options_(options),
      weights_(weights),
      layers_(layers),
      metadata_(device),
      record_pages_(device),
      records_(device, options.shape, metadata_),
      memory_(device, options, options.limits.step_tokens, false),
      other_x_(device, options.limits.step_tokens * options.shape.hidden),
      logits_(device, options.limits.step_sequences * options.shape.vocabulary),
      next_(device, options.limits.step_sequences),
      decode_steps_(device) {}

template <class T>
std::int64_t ServingRun<T>::layer_bytes() const {
  return 2 * options_.limits.block_size * options_.shape.kv_width() * static_cast<std::int64_t>(sizeof(T));
}

template <class T>
void ServingRun<T>::check_sequence(const SequenceStep& sequence) const {
  const ModelShape& shape = options_.shape;
  const std::int64_t keys = sequence.context + static_cast<std::int64_t>(sequence.tokens.size());
  check(!sequence.tokens.empty() && sequence.context >= 0, "a sequence of a step has tokens to compute");
  check(keys <= shape.max_position, "a sequence is no longer than the model's positions");
  check(static_cast<std::int64_t>(sequence.block_table.size()) * options_.limits.block_size >= keys,
        "a sequence has blocks for all its tokens");
  check(sequence.record.empty() || static_cast<std::int64_t>(sequence.record.size()) == shape.layers,
        "a record has memory for every layer");
  for (const std::int32_t token : sequence.tokens) {
    check(token >= 0 && token < shape.vocabulary, "a token is in the vocabulary");
  }
}

template <class T>
typename ServingRun<T>::Tables ServingRun<T>::upload_tables(std::span<const SequenceStep> batch) {
  const std::int64_t block_size = options_.limits.block_size;
  std::vector<std::int32_t> ids, positions, blocks;
  std::vector<std::int64_t> slots;
  std::vector<PagedRows> prefills, decodes;
  Tables tables;
  bool any_row_recorded = false;
  for (const SequenceStep& sequence : batch) {
    check_sequence(sequence);
    PagedRows rows;
    rows.query_begin = static_cast<std::int32_t>(ids.size());
    rows.queries = static_cast<std::int32_t>(sequence.tokens.size());
    rows.keys = sequence.context + rows.queries;
    rows.table_begin = static_cast<std::int32_t>(blocks.size());
    (rows.queries > 1 ? prefills : decodes).push_back(rows);
    blocks.insert(blocks.end(), sequence.block_table.begin(), sequence.block_table.end());
    ids.insert(ids.end(), sequence.tokens.begin(), sequence.tokens.end());
    for (std::int32_t position = sequence.context; position < rows.keys; ++position) {
      positions.push_back(position);
      slots.push_back(sequence.block_table[static_cast<std::size_t>(position / block_size)] * block_size +
                      position % block_size);
    }
    const bool single = rows.queries == 1, recorded = !sequence.record.empty();
    tables.single_rows += single;
    any_row_recorded = any_row_recorded || (single && recorded);
    tables.chunks_recorded = tables.chunks_recorded || (!single && recorded);
    tables.yielding += sequence.yields_token;
  }
  tables.tokens = static_cast<std::int64_t>(ids.size());
  check(tables.tokens <= options_.limits.step_tokens, "a step keeps to its limit of tokens");
  // Tables whose size depends on the numbers of tokens and sequences alone come first, so that those of equal steps lie
  // where they lay before.
  metadata_.reset();
  tables.ids = metadata_.upload(ids);
  tables.slots = metadata_.upload(slots);
  tables.prefills = upload_rows(metadata_, prefills);
  tables.decodes = upload_rows(metadata_, decodes);
  if (any_row_recorded) tables.places = metadata_.upload(recorded_rows(batch));
  tables.blocks = metadata_.upload(blocks);
  device_.upload(memory_.activations().positions, positions.data(), tables.tokens * 4);
  return tables;
}

template <class T>
void ServingRun<T>::step(std::span<const SequenceStep> batch, std::span<std::int32_t> next) {
  check(arena_ != nullptr, "the model has an arena for its keys and values");
  check(!batch.empty() && next.size() == batch.size(), "one next token for each sequence");
  check(static_cast<std::int64_t>(batch.size()) <= options_.limits.step_sequences,
        "a step keeps to its limit of sequences");
  Tables tables = upload_tables(batch);
  const bool all_or_none = tables.yielding == 0 || tables.yielding == tables.decodes.count;
  if (options_.repeat_decodes && tables.prefills.count == 0 && all_or_none) {
    tables.decodes.max_keys = DecodeSteps::key_limit(tables.decodes.max_keys);
    decode_steps_.run({tables.tokens,
                       tables.decodes.max_keys,
                       tables.yielding > 0,
                       {arena_, tables.ids, tables.slots, tables.decodes.rows, tables.places, tables.blocks}},
                      [&] { compute(tables, batch); });
  } else {
    compute(tables, batch);
  }
  if (tables.yielding == 0) {
    device_.synchronise();
    return;
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(tables.yielding));
  device_.download(tokens.data(), next_.data(), tables.yielding * 4);
  auto token = tokens.begin();
  for (std::size_t s = 0; s < batch.size(); ++s) {
    if (batch[s].yields_token) next[s] = *token++;
  }
}

template <class T>
void ServingRun<T>::compute(const Tables& tables, std::span<const SequenceStep> batch) {
  LayerActivations<T> act = memory_.activations();
  T* output = other_x_.data();
  device_.run(
      EmbeddingForward<T>{tables.ids, weights_.tensors().embedding, act.x, tables.tokens, options_.shape.hidden});
  for (std::int32_t layer = 0; layer < options_.shape.layers; ++layer) {
    run_layer(layer, tables, batch, act, output);
    std::swap(act.x, output);
  }
  sample(tables, batch, act.x);
}

template <class T>
void ServingRun<T>::run_layer(std::int32_t layer, const Tables& tables, std::span<const SequenceStep> batch,
                              const LayerActivations<T>& act, T* output) {
  const ModelShape& shape = options_.shape;
  const LayerScratch<T>& scratch = memory_.scratch();
  std::vector<ActivationPiece> pieces;
  if (tables.chunks_recorded) pieces = recorded_chunks(layer, batch);
  const std::vector<KeptRows> kept = records_.kept_by_operators(pieces);
  layers_.to_qkv(layer, act, scratch, tables.tokens, kept);
  T* keys = reinterpret_cast<T*>(arena_ + layer * layer_bytes());
  device_.run(KvCacheWrite<T>{act.keys(shape), act.values(shape), keys,
                              keys + options_.limits.block_size * shape.kv_width(), tables.slots, tables.tokens,
                              shape.kv_width(), shape.q_width() + 2 * shape.kv_width(), options_.limits.block_size,
                              page_bytes() / static_cast<std::int64_t>(sizeof(T))});
  attend(layer, tables, tables.prefills, act);
  attend(layer, tables, tables.decodes, act);
  records_.keep_rest(pieces, act);
  layers_.to_gate_up(layer, act, scratch, tables.tokens, kept);
  if (tables.places) records_.keep_rows(tables.places + layer * tables.single_rows, tables.single_rows, act);
  layers_.to_output(layer, act, scratch, output, tables.tokens, kept);
}

template <class T>
void ServingRun<T>::attend(std::int32_t layer, const Tables& tables, const UploadedRows<PagedRows>& sequences,
                           const LayerActivations<T>& act) {
  if (sequences.count == 0) return;
  const ModelShape& shape = options_.shape;
  PagedAttention<T> call{};
  call.q = act.qkv;
  call.k_cache = reinterpret_cast<const T*>(arena_ + layer * layer_bytes());
  call.v_cache = call.k_cache + options_.limits.block_size * shape.kv_width();
  call.out = act.attention;
  call.lse = tables.recorded() ? act.lse : nullptr;
  call.rows = sequences.rows;
  call.block_tables = tables.blocks;
  call.sequences = sequences.count;
  call.max_queries = sequences.max_queries;
  call.max_keys = sequences.max_keys;
  call.heads = static_cast<std::int32_t>(shape.heads);
  call.kv_heads = static_cast<std::int32_t>(shape.kv_heads);
  call.head_dim = static_cast<std::int32_t>(shape.head_dim);
  call.block_size = options_.limits.block_size;
  call.q_stride = shape.q_width() + 2 * shape.kv_width();
  call.block_stride = page_bytes() / static_cast<std::int64_t>(sizeof(T));
  device_.run(call);
}

namespace {

// What is recorded of a sequence in this layer, from this row of the step on.
ActivationPiece recorded_piece(const SequenceStep& sequence, std::int32_t row, std::int64_t layer) {
  const auto tokens = static_cast<std::int32_t>(sequence.tokens.size());
  const std::int32_t of_record = sequence.record_tokens > 0 ? sequence.record_tokens : tokens;
  const std::int32_t kept = std::min(tokens, of_record - sequence.record_first);
  return {{row, row + kept}, sequence.record_kind,  sequence.record_kind,
          of_record,         sequence.record_first, sequence.record[static_cast<std::size_t>(layer)]};
}

}  // namespace

template <class T>
std::vector<ActivationPiece> ServingRun<T>::recorded_chunks(std::int32_t layer, std::span<const SequenceStep> batch) {
  std::vector<ActivationPiece> pieces;
  std::int32_t row = 0;
  for (const SequenceStep& sequence : batch) {
    if (!sequence.record.empty() && sequence.tokens.size() > 1) pieces.push_back(recorded_piece(sequence, row, layer));
    row += static_cast<std::int32_t>(sequence.tokens.size());
  }
  return pieces;
}

// Those that are not kept have a place without memory, so that the table's size depends on the step's shape alone.
template <class T>
std::vector<RowPlace> ServingRun<T>::recorded_rows(std::span<const SequenceStep> batch) {
  record_pages_.reset();
  std::vector<RowPlace> places;
  for (std::int64_t layer = 0; layer < options_.shape.layers; ++layer) {
    std::int32_t row = 0;
    for (const SequenceStep& sequence : batch) {
      if (sequence.tokens.size() == 1) {
        const bool kept = !sequence.record.empty();
        places.push_back(kept ? records_.row_place(recorded_piece(sequence, row, layer), record_pages_) : RowPlace());
      }
      row += static_cast<std::int32_t>(sequence.tokens.size());
    }
  }
  return places;
}

// The last row of each sequence that yields a token, through final norm and output head.
template <class T>
void ServingRun<T>::sample(const Tables& tables, std::span<const SequenceStep> batch, const T* hidden) {
  if (tables.yielding == 0) return;
  const ModelShape& shape = options_.shape;
  const LayerScratch<T>& scratch = memory_.scratch();
  const std::int64_t row_bytes = shape.hidden * static_cast<std::int64_t>(sizeof(T));
  T* to = scratch.branch;
  std::int64_t row = 0, first = 0, rows = 0;  // rows side by side, as those of decodes are, take one copy
  const auto copy_rows = [&] {
    if (rows == 0) return;
    device_.run(RowCopy{reinterpret_cast<const std::byte*>(hidden + first * shape.hidden),
                        reinterpret_cast<std::byte*>(to), rows, row_bytes, row_bytes, row_bytes});
    to += rows * shape.hidden;
    rows = 0;
  };
  for (const SequenceStep& sequence : batch) {
    row += static_cast<std::int64_t>(sequence.tokens.size());
    if (!sequence.yields_token) continue;
    if (first + rows != row - 1) copy_rows();
    if (rows == 0) first = row - 1;
    ++rows;
  }
  copy_rows();
  const ModelTensors<const T*>& w = weights_.tensors();
  device_.run(RmsNormForward<T>{scratch.branch, nullptr, nullptr, w.final_norm, scratch.normed,
                                memory_.activations().rstd1, tables.yielding, shape.hidden,
                                static_cast<A>(options_.norm_epsilon)});
  device_.run(LinearForward<T>{scratch.normed, w.head, nullptr, logits_.data(), tables.yielding, shape.hidden,
                               shape.vocabulary, shape.hidden, shape.vocabulary});
  device_.run(Argmax<T>{logits_.data(), next_.data(), tables.yielding, shape.vocabulary});
}

template class ServingRun<float>;
template class ServingRun<double>;
template class ServingRun<BFloat16>;

}  // namespace alchemist
