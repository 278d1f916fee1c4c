#include "sim/node/activation_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/longest_run.h"

namespace alchemist {

ActivationStore::ActivationStore(const StoreConfig& config, BlockPool& pool, Policy& policy, Host& host)
    : config_(config), pool_(pool), policy_(policy), host_(host) {
  check(config.page_bytes > Bytes() && config.link_bandwidth > 0, "a store has pages and a link");
  config_.host_capacity = config.page_bytes * (config.host_capacity / config.page_bytes);
  pool_.watch_reuse();
}

// Visits the session's complete records of the first `total` tokens of this prompt and its answer, each with its first
// token that none before it holds, and how many those are.
template <class Visit>
void ActivationStore::for_each_part(SessionId session, const Prompt& prompt, std::int32_t total, Visit&& visit) const {
  const auto found = by_session_.find(session);
  if (found == by_session_.end()) return;
  std::int32_t covered = 0;  // tokens up to here are accounted for
  for (const RecordId id : found->second) {
    const Record& record = records_[id.value()];
    const std::int32_t begin = std::max(record.first_token, covered);
    const std::int32_t end = std::min(record.first_token + record.tokens, total);
    if (!record.complete || end <= begin || !share_prefix(record.prompt, prompt, end)) continue;
    if (visit(id, record, begin, end - begin)) covered = end;
  }
}

RecordView ActivationStore::record_view(Time now, const Arrival& request, std::int64_t tokens) const {
  const bool host = policy_.place && policy_.place->uses_host();
  RecordView view;
  view.tokens = tokens;
  view.lean_bytes = config_.lean_per_token * tokens;
  view.minimal_bytes = config_.minimal_per_token * tokens;
  view.lean_saving = config_.lean_saving;
  view.capacity = config_.page_bytes * most_pages() + (host ? config_.host_capacity : Bytes());
  view.free = view.capacity - gpu_bytes() + config_.page_bytes * trained_records_.pages();
  if (host) view.free += trained_records_.host_bytes() - host_used_;
  view.whole_per_s = whole_.per_second(now) * with_answers();
  view.trained_per_s = trained_.per_second(now);
  view.queued_s = queued_s_;
  view.decoding = decoding_;
  view.forward_s = config_.forward_per_token_s;
  view.step_s = config_.record_step_s;
  const double chosen = chosen_.per_second(now);
  if (chosen > 0) view.kept_share = std::min(1.0, kept_.per_second(now) / chosen);
  const double restorable = restorable_.per_second(now);
  if (restorable > 0) view.used_share = used_.per_second(now) / restorable;
  view.copied_share = totals_.recorded > Bytes() ? copied_.as_double() / totals_.recorded.as_double() : 1;
  view.copy_costs = config_.copy_costs;
  view.copy_bandwidth = host ? config_.link_bandwidth : std::numeric_limits<double>::infinity();
  view.feedback = &feedback_;
  view.foresees = request.foresees_feedback;
  view.needed_in = request.feedback_delay;
  return view;
}

// Nearly all of the prompt: what was found in the prefix cache has records of earlier turns, or is little.
bool ActivationStore::covers_whole(const Arrival& request, std::int32_t first_token, std::int32_t end_token) const {
  constexpr double kNearlyAll = 0.9;
  std::int32_t covered = end_token - first_token;
  const Prompt prompt{request.content, request.prompt_tokens};
  for_each_part(request.session, prompt, first_token, [&](RecordId, const Record&, std::int32_t, std::int32_t tokens) {
    covered += tokens;
    return true;
  });
  return covered >= kNearlyAll * request.prompt_tokens;
}

void ActivationStore::observe_open_records(Time now) {
  std::vector<Duration> ages;
  for (const RecordId id : live_) {
    if (!at(id).fate_known) ages.push_back(now - at(id).recorded_at);
  }
  feedback_.observe_open(ages);
}

std::optional<RecordId> ActivationStore::begin(Time now, const Arrival& request, std::int32_t first_token,
                                               std::int32_t end_token, WeightVersion version) {
  if (!policy_.record || end_token <= first_token) return std::nullopt;
  // Preempted after its prompt was complete: the record of that stands.
  if (const auto own = by_request_.find(request.id); own != by_request_.end() && !own->second.prompt.empty()) {
    return std::nullopt;
  }
  expire(now);
  const std::int64_t tokens = end_token - first_token;
  const bool whole = covers_whole(request, first_token, end_token);
  if (whole) whole_.add(now, tokens);
  if (request.foresees_feedback) {
    feedback_.learn(request.feedback_delay.value_or(kLongestRun), request.feedback_delay.has_value());
  } else if (begun_++ % kBetweenCensuses == 0) {
    observe_open_records(now);
  }
  RecordView view = record_view(now, request, tokens);
  view.whole = whole;
  RecordChoice choice = policy_.record->choose(view);
  if (choice != RecordChoice::kNothing) chosen_.add(now, tokens);
  if (choice == RecordChoice::kNothing) return std::nullopt;
  // A record is on the GPU as a whole while it is made. What cannot be is kept lean, so that more of it has a place.
  if (view.minimal_bytes > config_.page_bytes * most_pages()) choice = RecordChoice::kLean;
  const RecordId id = add(now, request, first_token, choice == RecordChoice::kLean, version);
  by_request_[request.id].prompt.push_back(id);
  at(id).answer_too = policy_.record_answers && policy_.record->answer_too();
  return id;
}

RecordId ActivationStore::begin_part(Time now, const Arrival& request, std::int32_t first_token, bool lean,
                                     WeightVersion version) {
  const RecordId id = add(now, request, first_token, lean, version);
  by_request_[request.id].prompt.push_back(id);
  at(id).fate_known = true;  // the first one tells the feedback model
  return id;
}

// A new record without tokens.
RecordId ActivationStore::add(Time now, const Arrival& request, std::int32_t first_token, bool lean,
                              WeightVersion version) {
  RecordId id(static_cast<std::uint32_t>(records_.size()));
  if (free_ids_.empty()) {
    records_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  Record& record = at(id);
  record = Record();
  record.request = request.id;
  record.session = request.session;
  record.prompt = {request.content, request.prompt_tokens};
  record.first_token = first_token;
  record.lean = lean;
  record.version = version;
  record.recorded_at = now;
  if (request.feedback_delay) record.needed_at = now + *request.feedback_delay;
  record.live_index = live_.size();
  live_.push_back(id);
  std::vector<RecordId>& siblings = by_session_[request.session];
  // Of two that begin at the same token the later one comes first: its weights are newer.
  siblings.insert(std::lower_bound(siblings.begin(), siblings.end(), first_token,
                                   [&](RecordId other, std::int32_t token) { return at(other).first_token < token; }),
                  id);
  return id;
}

std::int32_t ActivationStore::extend(Time now, RecordId id, std::int32_t tokens, std::int32_t spare) {
  constexpr std::int32_t kLeast = 64;  // tokens that are worth a record
  if (grow(now, id, tokens, Lies::kOnGpu, spare)) return tokens;
  const std::int32_t kept = std::min(tokens, room_for(id, spare));
  return kept >= kLeast && grow(now, id, kept, Lies::kOnBoth, spare) ? kept : 0;
}

// Tokens by which the record can grow at the cost of nothing but second copies: a part of a prompt is not worth another
// record.
std::int32_t ActivationStore::room_for(RecordId id, std::int32_t spare) const {
  const Record& record = records_[id.value()];
  std::int32_t pages = std::min(most_pages() - pages_, pool_.free() - spare);
  for (const RecordId other : live_) {
    if (may_leave(records_[other.value()], Lies::kOnBoth))
      pages += static_cast<std::int32_t>(std::ssize(records_[other.value()].pages));
  }
  const Bytes room = config_.page_bytes * (pages + std::ssize(record.pages)) - record.bytes;
  return static_cast<std::int32_t>(std::max<std::int64_t>(0, room / bytes_of(record.lean, 1)));
}

// Memory for `tokens` more tokens, of records that lie like `givers`. False if it is short.
bool ActivationStore::grow(Time now, RecordId id, std::int32_t tokens, Lies givers, std::int32_t spare) {
  Record& record = at(id);
  const Bytes bytes = record.bytes + bytes_of(record.lean, tokens);
  const auto pages = static_cast<std::int32_t>((bytes + config_.page_bytes - Bytes(1)) / config_.page_bytes);
  const std::int32_t more = pages - static_cast<std::int32_t>(record.pages.size());
  if (more > 0 && !make_pages(now, more, most_pages(), id, givers, spare)) return false;
  pool_.allocate(more, record.pages);
  pages_ += more;
  record.bytes = bytes;
  record.tokens += tokens;
  return true;
}

std::optional<RecordId> ActivationStore::begin_answer(Time now, const Arrival& request, std::int32_t first_token,
                                                      std::int32_t tokens, bool lean, WeightVersion version) {
  const RecordId id = add(now, request, first_token, lean, version);
  by_request_[request.id].answer.push_back(id);
  Record& record = at(id);
  record.of_answer = true;
  record.fate_known = true;  // the prompt's record tells the feedback model
  if (grow(now, id, tokens, Lies::kOnGpu)) return id;
  drop(now, id);
  return std::nullopt;
}

void ActivationStore::complete_answer(Time now, RecordId id, std::int32_t tokens) {
  Record& record = at(id);
  record.tokens = std::min(record.tokens, tokens);
  record.tokens > 0 ? complete(now, id) : drop(now, id);
}

// Tokens that are recorded with each token of a prompt, itself included.
double ActivationStore::with_answers() const {
  if (answer_tokens_ == 0) return 1;
  return 1 + static_cast<double>(answer_tokens_) / static_cast<double>(prompt_tokens_);
}

RecordPart ActivationStore::part(RecordId id, std::int32_t added) const {
  const Record& record = records_[id.value()];
  return {id, record.lean, record.tokens - added, record.pages};
}

void ActivationStore::complete(Time now, RecordId id) {
  Record& record = at(id);
  record.complete = true;
  if (record.of_answer) {
    answer_tokens_ += record.tokens;
  } else {
    prompt_tokens_ += record.tokens;
    kept_.add(now, record.tokens);
  }
  ++totals_.records;
  totals_.recorded += record.bytes;
  if (!policy_.place) return;
  if (policy_.place->on_recorded(place_view()) == PlaceChoice::kCopyNow) {
    if (make_host_room(now, record.bytes)) start_copy_out(now, id);
  } else if (!config_.spare_memory && pages_ > config_.max_pages / 2) {
    // The next prompt must find room at once, so records leave before their share of the memory is full.
    relieve(now);
  }
  if (config_.spare_memory) let_go(now, pages_ - most_pages(), Leave::kCopied);
}

void ActivationStore::abandon(Time now, RecordId id) {
  if (!at(id).complete) drop(now, id);
}

void ActivationStore::on_feedback(Time now, const Feedback& feedback) {
  const auto own = by_request_.find(feedback.request);
  if (own == by_request_.end()) return;
  for (const RecordId id : own->second.all()) {
    Record& record = at(id);
    record.feedback_at = record.ready_at = now;
    if (!record.needed_at && !record.fate_known) feedback_.learn(now - record.recorded_at, true);
    record.fate_known = true;
  }
}

void ActivationStore::on_taken(Time now, std::span<const Feedback> samples) {
  taken_at_ = now;
  for (const Feedback& sample : samples) {
    const auto own = by_request_.find(sample.request);
    if (own == by_request_.end()) continue;
    for (const RecordId id : own->second.all()) at(id).ready_at = now;
  }
}

double ActivationStore::saved_share(const Feedback& feedback, WeightVersion current, std::int32_t max_lag) const {
  const std::int32_t total = feedback.prompt_tokens + feedback.output_tokens;
  double saved = 0;
  const Prompt prompt{feedback.content, feedback.prompt_tokens};
  for_each_part(feedback.session, prompt, total,
                [&](RecordId, const Record& record, std::int32_t, std::int32_t tokens) {
                  if (lag_of(record, current) > max_lag) return false;
                  saved += (record.lean ? config_.lean_saving : 1) * tokens;
                  return true;
                });
  return saved / static_cast<double>(total);
}

// The last token of an answer was no input of serving, so that it has no record. It has no target either, and nobody
// attends to it: its gradient is zero whatever its activations are. It takes those of the token before it.
void ActivationStore::add_last_token(std::int32_t total, Coverage& coverage) {
  RecordedTokens last = coverage.parts.back();
  if (last.first_token + last.tokens != total - 1) return;
  last.record_token += last.tokens - 1;
  last.first_token = total - 1;
  last.tokens = 1;
  ++(last.on_host ? coverage.host_tokens : coverage.resident_tokens);
  if (last.lean) ++(last.on_host ? coverage.host_lean : coverage.resident_lean);
  coverage.parts.push_back(last);
}

Coverage ActivationStore::acquire(const Feedback& feedback, WeightVersion current, std::int32_t max_lag,
                                  RecordsOnHost on_host) {
  Coverage coverage;
  std::vector<TokenRange> lost;
  const auto take = [&](RecordId id, const Record& record, std::int32_t begin, std::int32_t tokens) {
    const std::int32_t lag = lag_of(record, current);
    if (lag > max_lag || (on_host == RecordsOnHost::kLeave && record.on_host)) {
      lost.push_back({begin, begin + tokens});
      return false;
    }
    (record.on_gpu() ? coverage.resident_tokens : coverage.host_tokens) += tokens;
    if (record.lean) (record.on_gpu() ? coverage.resident_lean : coverage.host_lean) += tokens;
    coverage.version_lag = std::max(coverage.version_lag, lag);
    coverage.records.push_back(id);
    coverage.parts.push_back({0, begin, tokens, id, begin - record.first_token, record.lean, !record.on_gpu(), lag});
    return true;
  };
  const std::int32_t total = feedback.prompt_tokens + feedback.output_tokens;
  for_each_part(feedback.session, {feedback.content, feedback.prompt_tokens}, total, take);
  if (!coverage.parts.empty()) add_last_token(total, coverage);
  if (const auto own = lost_.find(feedback.request); own != lost_.end()) {
    lost.insert(lost.end(), own->second.begin(), own->second.end());
  }
  coverage.dropped_tokens = not_covered(std::move(lost), coverage.parts);
  for (const RecordId id : coverage.records) {
    ++at(id).users;
    if (at(id).trained_as && !std::exchange(at(id).used_again, true)) ++used_again_;
  }
  return coverage;
}

void ActivationStore::mark_reloaded(std::span<const RecordId> records) {
  for (const RecordId id : records) {
    if (!at(id).on_gpu()) at(id).was_reloaded = true;
  }
}

void ActivationStore::put_back(std::span<const RecordId> records) {
  for (const RecordId id : records) {
    Record& record = at(id);
    --record.users;
    if (record.users == 0 && record.free_after_copy && record.on_host) {
      record.free_after_copy = false;
      free_pages(record);
    }
  }
}

void ActivationStore::end_of_use(Time now, RequestId request) {
  lost_.erase(request);
  const auto own = by_request_.find(request);
  if (own == by_request_.end()) return;
  for (const RecordId id : own->second.all()) {
    Record& record = at(id);
    if (record.users > 0) continue;  // another sample of its session uses it at this moment
    record.ready_at.reset();         // from here on nobody waits for it
    constexpr double kWeight = 0.05;
    if (record.feedback_at) queued_s_ += kWeight * ((now - *record.feedback_at).in_seconds() - queued_s_);
    become_trained(id);
    settle_trained(now, id);
  }
}

// Tokens of the ranges, each once, that none of the parts has; these are in order.
std::int32_t ActivationStore::not_covered(std::vector<TokenRange> ranges, std::span<const RecordedTokens> parts) {
  std::ranges::sort(ranges, {}, &TokenRange::begin);
  std::int32_t count = 0, seen = 0;
  for (const TokenRange& range : ranges) {
    seen = std::max(seen, range.begin);
    for (const RecordedTokens& part : parts) {
      count += std::max(0, std::min(range.end, part.first_token) - seen);
      seen = std::max(seen, std::min(range.end, part.first_token + part.tokens));
    }
    count += std::max(0, range.end - seen);
    seen = std::max(seen, range.end);
  }
  return count;
}

// Feedback that has not come in so long will hardly come: the oldest are forgotten.
void ActivationStore::note_lost(const Record& record) {
  constexpr std::size_t kMostRequests = 1 << 16;
  const auto [lost, is_new] = lost_.try_emplace(record.request);
  lost->second.push_back({record.first_token, record.first_token + record.tokens});
  if (!is_new) return;
  lost_order_.push_back(record.request);
  if (lost_order_.size() <= kMostRequests) return;
  lost_.erase(lost_order_.front());
  lost_order_.pop_front();
}

void ActivationStore::drop(Time now, RecordId id) {
  Record& record = at(id);
  check(record.users == 0 && !record.copying_out, "a record in use is not dropped");
  free_pages(record);
  if (record.on_host) {
    host_used_ -= host_pages(record.bytes);
    if (!record.was_reloaded) totals_.wasted_copies += record.bytes;
  }
  if (record.ready_at) ++totals_.dropped_records;
  if (record.complete && !record.trained_as) note_lost(record);
  if (record.complete && !record.fate_known && !record.needed_at) feedback_.learn(now - record.recorded_at, false);
  host_.forget(id);
  const auto own = by_request_.find(record.request);
  std::erase(own->second.prompt, id);
  std::erase(own->second.answer, id);
  if (own->second.prompt.empty() && own->second.answer.empty()) by_request_.erase(own);
  auto session = by_session_.find(record.session);
  std::erase(session->second, id);
  if (session->second.empty()) by_session_.erase(session);
  record.trained_as ? trained_records_.remove(*record.trained_as, host_bytes_of(record)) : take_off_list(record);
  free_ids_.push_back(id);
}

StoreTotals ActivationStore::totals() const {
  StoreTotals totals = totals_;
  for (const auto& [place, id] : trained_records_.on_host()) {
    const Record& record = records_[id.value()];
    if (record.on_host && !record.was_reloaded) totals.wasted_copies += record.bytes;
  }
  return totals;
}

void ActivationStore::check_consistency() const {
  std::int32_t pages = 0;
  Bytes host = host_taken_;
  std::vector<RecordId> all = live_;
  for (const auto& [place, id] : trained_records_.on_gpu()) all.push_back(id);
  for (const auto& [place, id] : trained_records_.on_host()) all.push_back(id);
  for (const RecordId id : all) {
    const Record& record = records_[id.value()];
    pages += static_cast<std::int32_t>(record.pages.size());
    if (record.on_host || record.copying_out) host += host_pages(record.bytes);
    check(record.on_gpu() || record.on_host || !record.complete, "a complete record lies somewhere");
    check(record.users >= 0, "users are counted");
  }
  check(pages == pages_ && host == host_used_, "bytes by tier agree with the records");
}

}  // namespace alchemist
