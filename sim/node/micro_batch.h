// One micro-batch of a training step: its samples, where their activations are, and how they come back.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/base/events.h"
#include "sim/node/activation_store.h"
#include "sim/node/token_runs.h"
#include "sim/policy/decisions.h"
#include "sim/policy/estimator.h"

namespace alchemist {

struct MicroBatch {
  std::vector<Feedback> samples;
  std::int64_t tokens = 0;
  std::int64_t targets = 0;  // of them, those with a loss
  // By sample, of each the served sequence and then those of its other answers, by position: all tokens; and without
  // the prompt's copies in the others, whose activations are equal, so that whatever computes the prompt computes it
  // once: all, those without a usable record, and those without one on the GPU. What a forward piece works on, in its
  // order.
  TokenRuns all, distinct, without_record, not_resident;
  double recorded_keys = 0;  // attended by those with a record here, each counted once
  // By where the records are. Lean: of resident and host tokens, those without gate and up.
  std::int64_t resident = 0, lean = 0;
  std::int64_t host = 0, host_lean = 0;
  std::int64_t copies = 0;  // of prompts, as above
  // With a target and a record: the head gets their last hidden state from it.
  std::int64_t resident_targets = 0, resident_lean_targets = 0;
  std::int64_t host_targets = 0, host_lean_targets = 0;
  std::int64_t fresh = 0;         // without usable record
  std::int64_t fresh_served = 0;  // of them, those that serving had computed all the same
  std::int64_t dropped = 0;       // of them, those that had one once
  std::vector<RecordId> records;
  std::vector<RecordedTokens> recorded;           // by sample and position
  std::vector<std::optional<std::int32_t>> lags;  // by sample; none without a record
  std::int64_t version_changes = 0;  // through all tokens, how often one was recorded under other weights than the last
  std::int64_t samples_with_record = 0;
  RestorePlan restore;
  std::int32_t recompute_below = 0;  // the plan's meeting layer
  // Its backward had come down to here when it gave its memory back: what remains is layers below.
  std::optional<std::int32_t> resumes_below;

  void add(const Feedback& sample);
  // Of the tokens, each once, those whose activations came from a record, if no layer of the records on the host was
  // recomputed.
  std::int64_t restored() const { return resident + host; }
  // Looks the samples' records up and holds them.
  void acquire(ActivationStore& store, WeightVersion version, std::int32_t max_lag,
               RecordsOnHost on_host = RecordsOnHost::kUse);

  // In place of the plan: nothing is recomputed of what is on the host.
  void reload_all();

  // Keys that the tokens of a piece of this batch attend to: its kind, layer, first_token and tokens say which.
  // Backward goes from the last token down. None for output heads and the optimizer.
  double keys_of(const TrainingPiece& piece) const;
  // Changes of version that the tokens of a layer's whole forward or backward have; none of other pieces.
  std::int64_t version_changes_of(const TrainingPiece& piece) const;
  // Tokens whose gate and up are rebuilt before this layer's backward: lean records, and what the plan leaves on the
  // host. Below the meeting layer host tokens were recomputed in full.
  std::int64_t rebuilt_tokens(std::int32_t layer) const;
  // Tokens for which the head computes the last layer's output from a record, and of them those whose gate and up it
  // rebuilds before. The last of `layers` layers may have been run for tokens on the host.
  std::int64_t recorded_targets(std::int32_t layers) const;
  std::int64_t rebuilt_targets(std::int32_t layers) const;
  // Host tokens come over the link layer by layer; of the layers that are recomputed, nothing does.
  bool reloads(std::int32_t layer) const { return host > 0 && layer >= recompute_below; }
  // Tokens that this layer's forward computes: fresh ones, and below the meeting layer those on the host with them.
  std::int64_t forward_tokens(std::int32_t layer) const { return layer < recompute_below ? fresh + host : fresh; }
  // That forward attends to tokens on the host that it does not compute.
  bool forward_needs_keys(std::int32_t layer) const { return fresh > 0 && reloads(layer); }
};

// Bytes of one token in all layers.
struct TokenBytes {
  Bytes lean;
  Bytes minimal;
  Bytes input;  // what checkpointing keeps
  Bytes keys_and_values;
};

// Seconds of the clock, each >= 1.
struct RestorePace {
  // For each second of the GPU that training gets, serving taking the others: what may be, equally likely. Not empty.
  std::vector<double> compute = {1};
  double link = 1;  // for each second that copies to the GPU would take alone
};

// Chooses where the activations of host tokens come from. Without a restore decision all of them are reloaded. With a
// reference model its forward gives copies time as well; so does serving.
void plan_restore(MicroBatch& batch, std::int32_t layers, const TokenBytes& bytes, bool reference,
                  const RestorePace& pace, Policy& policy, const Estimator& estimator);

// Bytes of records that come over the link for one layer.
Bytes record_reload_bytes(const MicroBatch& batch, std::int32_t layer, std::int32_t layers, const TokenBytes& bytes);

}  // namespace alchemist
