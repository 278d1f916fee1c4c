// Records of serving's activations: where each lies (GPU, pinned host memory, both), which give way when memory is
// short, and what they hold for a training sample. Records share the KV memory in pages of one KV block; KV has
// priority.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/base/events.h"
#include "sim/node/block_pool.h"
#include "sim/node/host.h"
#include "sim/node/token_rate.h"
#include "sim/node/trained_records.h"
#include "sim/policy/decisions.h"

namespace alchemist {

struct StoreConfig {
  Bytes page_bytes;            // of one KV block, all layers
  std::int32_t max_pages = 0;  // that records may hold together, whatever serving's prefix cache loses by it
  bool spare_memory = false;   // they may hold more as long as the cache loses hardly anything by it
  Bytes host_capacity;         // pinned memory, in pages of the same size
  Bytes lean_per_token;        // all layers
  Bytes minimal_per_token;
  double lean_saving = 1;          // share of the forward's time that a lean record saves
  double forward_per_token_s = 0;  // of the GPU: all layers of a token that training runs forward
  double record_step_s = 0;        // that recording adds to a decode step, however many tokens it records
  double link_bandwidth = 1;       // bytes/s device to host, as the policy believes
  double copy_costs = 0;           // share of the GPU that is lost while a copy is under way, as it believes
};

// If a sample uses records that have a place on the host.
enum class RecordsOnHost : std::uint8_t { kUse, kLeave };

// What records hold of one sample.
struct Coverage {
  std::int64_t resident_tokens = 0;  // on the GPU
  std::int64_t resident_lean = 0;    // of them, without gate and up
  std::int64_t host_tokens = 0;      // in host memory only
  std::int64_t host_lean = 0;
  std::int64_t dropped_tokens = 0;  // recorded once, but gone or too old
  std::int32_t version_lag = 0;     // of the oldest record used
  std::vector<RecordId> records;
  std::vector<RecordedTokens> parts;  // by their position
};

struct StoreTotals {
  std::int64_t records = 0;  // completed
  Bytes recorded;
  std::int64_t dropped_records = 0;  // gave way before their sample was trained
  Bytes wasted_copies;               // host copies made and never read
};

class ActivationStore {
 public:
  // All references outlive the store.
  ActivationStore(const StoreConfig& config, BlockPool& pool, Policy& policy, Host& host);

  // Requests that decode from now on, whose answers share what recording adds to a step.
  void set_decoding(std::int32_t requests) { decoding_ = requests; }
  // Prefill of a request begins. None if the policy keeps nothing of it.
  std::optional<RecordId> begin(Time now, const Arrival& request, std::int32_t first_token, std::int32_t end_token,
                                WeightVersion version);
  // Prefill goes on from `first_token` on, behind a record of the same prompt that was full: another one.
  RecordId begin_part(Time now, const Arrival& request, std::int32_t first_token, bool lean, WeightVersion version);
  // Prefill is about to compute `tokens` more. Returns how many of them, from the first on, are kept: fewer than all if
  // memory is short, and then the record is full. `spare` pages stay free: what the prompt itself will need next, which
  // would otherwise give way to its own record again and again.
  std::int32_t extend(Time now, RecordId id, std::int32_t tokens, std::int32_t spare = 0);
  // Its last token has been computed: the record may be copied, used and evicted.
  void complete(Time now, RecordId id);
  // True for a prompt's record if the policy wants one of the answer.
  bool wants_answer(RecordId id) const { return records_[id.value()].answer_too; }
  // Decode is about to compute `tokens` tokens of the answer to this request, from its token `first_token` on: a record
  // of their own, on the GPU. None if memory is short.
  std::optional<RecordId> begin_answer(Time now, const Arrival& request, std::int32_t first_token, std::int32_t tokens,
                                       bool lean, WeightVersion version);
  // The answer has ended or goes on elsewhere: the first `tokens` of its tokens have been computed and are complete.
  void complete_answer(Time now, RecordId id, std::int32_t tokens);
  // Where an incomplete record lies, with what extend() has added. Valid until the next call.
  RecordPart part(RecordId id, std::int32_t added) const;
  // The request was preempted, or there is no memory at all: an incomplete record is dropped.
  void abandon(Time now, RecordId id);

  // KV needs `pages`: records give way. What has a host copy is freed at once; of the rest, what the policy wants to
  // keep is copied out first and comes free when that is done, unless the need is urgent; what remains is dropped.
  // Returns the pages that neither have come free nor will with a copy.
  std::int32_t reclaim(Time now, std::int32_t pages, bool urgent);
  // Makes `pages` free for training by evicting records that no step uses. False if that is not possible now.
  bool make_room(Time now, std::int32_t pages);
  // Host memory for the activations of a training step, at the cost of records that no step uses. False if that is not
  // possible now.
  bool take_host(Time now, Bytes bytes);
  void give_host(Bytes bytes);
  // Of so much, what would be missing even if records that no step uses gave way, and training `given_back` of what it
  // has taken; zero or less: nothing.
  Bytes lacks_host(Bytes bytes, Bytes given_back = Bytes(), bool doubled_too = true) const;
  Bytes host_bytes_of(std::span<const RecordId> records) const;
  Bytes host_capacity() const { return config_.host_capacity; }
  // True if the completion answers a copy of this store.
  bool on_copy_done(Time now, OpId op);

  void on_feedback(Time now, const Feedback& feedback);
  // A training step has taken these samples, and if others are ready, later steps will pass them over too.
  void on_taken(Time now, std::span<const Feedback> samples);
  // Share of the sample's forward that usable records save, 0..1.
  double saved_share(const Feedback& feedback, WeightVersion current, std::int32_t max_lag) const;
  // What records hold of the sample that can be used under weights `current`. Those records are held until put_back().
  Coverage acquire(const Feedback& feedback, WeightVersion current, std::int32_t max_lag,
                   RecordsOnHost on_host = RecordsOnHost::kUse);
  // The host copies of these records are being read.
  void mark_reloaded(std::span<const RecordId> records);
  // The micro-batch that acquired them is over, or did not begin.
  void put_back(std::span<const RecordId> records);
  // The request's own sample has been trained. Later turns of its conversation may use its record, so that it stays as
  // long as nothing else wants its memory: it is the first to go.
  void end_of_use(Time now, RequestId request);
  // A training step of `tokens` is over.
  void on_trained(Time now, std::int64_t tokens) { trained_.add(now, tokens); }
  // A micro-batch is over: so many of its tokens had a record, so many of them (layers counted as shares) used it.
  void on_used(Time now, std::int64_t recorded, std::int64_t used) {
    restorable_.add(now, recorded);
    used_.add(now, used);
  }
  // Weights have a new version: records that are too old for it now are dropped.
  void on_new_version(Time now, WeightVersion current, std::int32_t max_lag);

  Bytes bytes_of(bool lean, std::int32_t tokens) const {
    return (lean ? config_.lean_per_token : config_.minimal_per_token) * tokens;
  }
  std::int32_t pages() const { return pages_; }  // on the GPU
  Bytes gpu_bytes() const { return config_.page_bytes * pages_; }
  Bytes host_bytes() const { return host_used_; }
  StoreTotals totals() const;
  std::int64_t live_records() const { return static_cast<std::int64_t>(live_.size() + trained_records_.size()); }
  // Bytes by tier agree with the records. Cheap enough to run after every step of a test.
  void check_consistency() const;

 private:
  struct Record {
    RequestId request;
    SessionId session;
    Prompt prompt;  // which tokens of the session these are
    std::int32_t first_token = 0;
    std::int32_t tokens = 0;
    bool lean = false;
    bool of_answer = false;  // else of a prompt
    bool answer_too = false;
    bool complete = false;
    bool on_host = false;
    bool was_reloaded = false;
    std::optional<Time> feedback_at;
    std::optional<Time> ready_at;  // its feedback came, or a training step took its sample, which is not trained yet
    bool fate_known = false;       // the feedback model has learnt from it
    int users = 0;                 // training steps that hold it
    Bytes bytes;
    WeightVersion version;
    Time recorded_at;
    std::optional<Time> needed_at;  // clairvoyant policies
    std::optional<OpId> copying_out;
    std::optional<std::uint64_t> trained_as;  // its own sample has been: place in that order
    bool used_again = false;                  // by another sample since then
    bool free_after_copy = false;
    std::vector<BlockId> pages;  // empty: not on the GPU
    std::size_t live_index = 0;
    bool on_gpu() const { return !pages.empty(); }
  };

  // A request's records.
  struct OwnRecords {
    std::vector<RecordId> prompt;  // several where it was too long for the memory at once
    std::vector<RecordId> answer;
    std::vector<RecordId> all() const {
      std::vector<RecordId> ids = answer;
      ids.insert(ids.end(), prompt.begin(), prompt.end());
      return ids;
    }
  };

  struct TokenRange {
    std::int32_t begin, end;  // of the request
  };

  Record& at(RecordId id) { return records_[id.value()]; }
  RecordId add(Time now, const Arrival& request, std::int32_t first_token, bool lean, WeightVersion version);
  enum class Lies : std::uint8_t { kOnGpu, kOnHostAlone, kOnBoth };
  bool grow(Time now, RecordId id, std::int32_t tokens, Lies givers, std::int32_t spare = 0);
  std::int32_t room_for(RecordId id, std::int32_t spare) const;
  double with_answers() const;
  static bool may_leave(const Record& record, Lies lies);
  std::optional<RecordId> victim(Time now, Lies lies, std::optional<RecordId> except);
  bool make_pages(Time now, std::int32_t pages, std::int32_t limit, std::optional<RecordId> except, Lies givers,
                  std::int32_t spare = 0);
  bool make_host_room(Time now, Bytes bytes, bool doubled_too = false);
  std::int32_t most_pages() const;
  std::int32_t reserve() const { return pool_.total() / 16; }
  void relieve(Time now);
  enum class Leave : std::uint8_t { kAtOnce, kAsPolicySays, kCopied };
  std::int32_t let_go(Time now, std::int32_t pages, Leave leave);
  bool copies_before_leaving(const Record& record, Leave leave) const;
  void start_copy_out(Time now, RecordId id);
  void free_pages(Record& record);
  void note_lost(const Record& record);
  void settle_trained(Time now, RecordId id);
  void take_off_list(const Record& record);
  template <class IsToGo>
  void drop_where(Time now, IsToGo&& is_to_go);
  void become_trained(RecordId id);
  bool trained_ones_are_used() const;
  static std::int32_t not_covered(std::vector<TokenRange> ranges, std::span<const RecordedTokens> parts);
  void drop(Time now, RecordId id);
  void expire(Time now);
  Bytes host_bytes_of(const Record& record) const { return record.on_host ? host_pages(record.bytes) : Bytes(); }
  Bytes host_pages(Bytes bytes) const;  // that a copy of so many bytes takes
  double link_backlog_s() const { return copying_bytes_.as_double() / config_.link_bandwidth; }
  RecordView record_view(Time now, const Arrival& request, std::int64_t tokens) const;
  void observe_open_records(Time now);
  PlaceView place_view() const;
  double value_of(Time now, const Record& record) const;
  bool is_spared(Time now, const Record& record, const Record& newer) const;
  bool covers_whole(const Arrival& request, std::int32_t first_token, std::int32_t end_token) const;
  static void add_last_token(std::int32_t total, Coverage& coverage);
  template <class Visit>
  void for_each_part(SessionId session, const Prompt& prompt, std::int32_t total, Visit&& visit) const;
  static std::int32_t lag_of(const Record& record, WeightVersion current) {
    return static_cast<std::int32_t>(current.value() - record.version.value());
  }

  StoreConfig config_;
  BlockPool& pool_;
  Policy& policy_;
  Host& host_;
  std::vector<Record> records_;  // by id; ids are used again
  std::vector<RecordId> free_ids_;
  std::vector<RecordId> live_;      // wanted for their own sample, in no particular order
  TrainedRecords trained_records_;  // the others: those whose own sample has been trained
  std::unordered_map<RequestId, OwnRecords> by_request_;
  std::unordered_map<SessionId, std::vector<RecordId>> by_session_;
  std::unordered_map<OpId, RecordId> copies_;
  // Of records that went before their sample was trained, by request, and these requests as they came.
  std::unordered_map<RequestId, std::vector<TokenRange>> lost_;
  std::deque<RequestId> lost_order_;
  std::int32_t pages_ = 0;
  std::int32_t decoding_ = 0;
  Bytes host_used_;   // copies being made and what training has taken included
  Bytes host_taken_;  // by training
  Bytes copying_bytes_;
  Bytes copied_;      // and being copied, in all
  TokenRate whole_;   // tokens that could have been recorded, of prompts that would be recorded whole
  TokenRate chosen_;  // tokens that were to be recorded
  TokenRate kept_;    // of them, those whose record was completed
  TokenRate trained_;
  TokenRate restorable_, used_;     // tokens that came to training with a record, and those of them that used it
  std::int64_t used_again_ = 0;     // trained records that another sample has used
  double queued_s_ = 0;             // from the feedback until the sample was trained, fading
  std::optional<Time> taken_at_;    // when a training step last took samples
  std::int64_t prompt_tokens_ = 0;  // of complete records
  std::int64_t answer_tokens_ = 0;
  FeedbackModel feedback_;
  static constexpr std::int64_t kBetweenCensuses = 32;  // prompts
  std::int64_t begun_ = 0;
  StoreTotals totals_;
};

}  // namespace alchemist
