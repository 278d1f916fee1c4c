#include "sim/node/activation_store.h"

#include <algorithm>
#include <limits>

#include "sim/base/check.h"
#include "sim/base/longest_run.h"

namespace alchemist {

ActivationStore::ActivationStore(const StoreConfig& config, BlockPool& pool, Policy& policy, Host& host)
    : config_(config), pool_(pool), policy_(policy), host_(host) {
  check(config.page_bytes > Bytes() && config.link_bandwidth > 0, "a store has pages and a link");
}

// Visits the complete records that hold the session's first `total` tokens, each with its first token that none before
// it holds, and how many those are.
template <class Visit>
void ActivationStore::for_each_part(SessionId session, std::int32_t total, Visit&& visit) const {
  const auto found = by_session_.find(session);
  if (found == by_session_.end()) return;
  std::int32_t covered = 0;  // tokens up to here are accounted for
  for (const RecordId id : found->second) {
    const Record& record = records_[id.value()];
    const std::int32_t begin = std::max(record.first_token, covered);
    const std::int32_t end = std::min(record.first_token + record.tokens, total);
    if (!record.complete || end <= begin) continue;
    if (visit(id, record, begin, end - begin)) covered = end;
  }
}

Bytes ActivationStore::gpu_free() const { return config_.page_bytes * std::max(0, config_.max_pages - pages_); }

RecordView ActivationStore::record_view(Time now, const Arrival& request, std::int64_t tokens) const {
  const bool host = policy_.place && policy_.place->uses_host();
  RecordView view;
  view.prompt_tokens = request.prompt_tokens;
  view.tokens = tokens;
  view.lean_bytes = config_.lean_per_token * tokens;
  view.minimal_bytes = config_.minimal_per_token * tokens;
  view.lean_saving = config_.lean_saving;
  view.capacity = config_.page_bytes * config_.max_pages + (host ? config_.host_capacity : Bytes());
  view.free = view.capacity - (host ? host_used_ + gpu_bytes() : gpu_bytes());
  view.whole_per_s = whole_.per_second(now);
  view.trained_per_s = trained_.per_second(now);
  const double chosen = chosen_.per_second(now);
  if (chosen > 0) view.kept_share = std::min(1.0, kept_.per_second(now) / chosen);
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
  for_each_part(request.session, first_token, [&](RecordId, const Record&, std::int32_t, std::int32_t tokens) {
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
  if (by_request_.contains(request.id)) return std::nullopt;
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
  // A record is on the GPU as a whole while it is made: what cannot be is kept lean, or not at all.
  const Bytes most = config_.page_bytes * config_.max_pages;
  if (choice == RecordChoice::kMinimal && view.minimal_bytes > most) choice = RecordChoice::kLean;
  if (choice == RecordChoice::kLean && view.lean_bytes > most) choice = RecordChoice::kNothing;
  if (choice == RecordChoice::kNothing) return std::nullopt;

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
  record.first_token = first_token;
  record.lean = choice == RecordChoice::kLean;
  record.version = version;
  record.recorded_at = now;
  if (request.feedback_delay) record.needed_at = now + *request.feedback_delay;
  record.live_index = live_.size();
  live_.push_back(id);
  check(by_request_.emplace(request.id, id).second, "a request has one record");
  std::vector<RecordId>& siblings = by_session_[request.session];
  siblings.insert(std::upper_bound(siblings.begin(), siblings.end(), first_token,
                                   [&](std::int32_t token, RecordId other) { return token < at(other).first_token; }),
                  id);
  return id;
}

Bytes ActivationStore::extend(Time now, RecordId id, std::int32_t tokens) {
  Record& record = at(id);
  const Bytes added = (record.lean ? config_.lean_per_token : config_.minimal_per_token) * tokens;
  const Bytes bytes = record.bytes + added;
  const auto pages = static_cast<std::int32_t>((bytes + config_.page_bytes - Bytes(1)) / config_.page_bytes);
  const std::int32_t more = pages - static_cast<std::int32_t>(record.pages.size());
  if (!make_pages(now, more, config_.max_pages, id)) {
    drop(now, id);
    return Bytes();
  }
  pool_.allocate(more, record.pages);
  pages_ += more;
  record.bytes = bytes;
  record.tokens += tokens;
  return added;
}

RecordPart ActivationStore::part(RecordId id, std::int32_t added) const {
  const Record& record = records_[id.value()];
  return {id, record.lean, record.tokens - added, record.pages};
}

void ActivationStore::complete(Time now, RecordId id) {
  Record& record = at(id);
  record.complete = true;
  kept_.add(now, record.tokens);
  ++totals_.records;
  totals_.recorded += record.bytes;
  if (!policy_.place) return;
  if (policy_.place->on_recorded(place_view(record)) == PlaceChoice::kCopyNow) {
    if (make_host_room(now, record.bytes)) start_copy_out(now, id);
  } else if (pages_ > config_.max_pages / 2) {
    // The next prompt must find room at once, so records leave before their share of the memory is full.
    relieve(now);
  }
}

// Copies the least valuable record out if the policy does so under pressure; its memory comes free with the copy.
void ActivationStore::relieve(Time now) {
  const auto id = victim(now, true, std::nullopt);
  if (!id || at(*id).on_host || !policy_.place->copy_out_under_pressure(place_view(at(*id)))) return;
  if (!make_host_room(now, at(*id).bytes)) return;
  at(*id).free_after_copy = true;
  start_copy_out(now, *id);
}

PlaceView ActivationStore::place_view(const Record& record) const {
  return {record.bytes, config_.host_capacity - host_used_, link_backlog_s(),
          config_.page_bytes * (pool_.free() - pool_.cached())};
}

void ActivationStore::abandon(Time now, RecordId id) {
  if (!at(id).complete) drop(now, id);
}

// The complete record without user that the policy values least, on the GPU or (on_gpu false) in host memory alone.
std::optional<RecordId> ActivationStore::victim(Time now, bool on_gpu, std::optional<RecordId> except) {
  std::optional<RecordId> least;
  double least_value = std::numeric_limits<double>::infinity();
  for (const RecordId id : live_) {
    const Record& record = at(id);
    if (!record.complete || record.users > 0 || record.copying_out || record.on_gpu() != on_gpu || id == except)
      continue;
    EvictView view{now - record.recorded_at, record.bytes, record.on_host, record.feedback_came, {}};
    if (record.needed_at) view.needed_in = *record.needed_at - now;
    const double value = policy_.evict ? policy_.evict->value(view) : 0;
    // Ties go to the older one, and then to the smaller id, so that the order of the list does not matter.
    if (!least || value < least_value ||
        (value == least_value && std::pair(record.recorded_at, id) < std::pair(at(*least).recorded_at, *least))) {
      least = id;
      least_value = value;
    }
  }
  return least;
}

// Frees GPU memory for `pages` more by letting records go at once, while all of them together may hold `limit`.
bool ActivationStore::make_pages(Time now, std::int32_t pages, std::int32_t limit, std::optional<RecordId> except) {
  while (static_cast<std::int64_t>(pages_) + pages > limit || pool_.free() < pages) {
    const auto id = victim(now, true, except);
    if (!id) return false;
    at(*id).on_host ? free_pages(at(*id)) : drop(now, *id);
  }
  return true;
}

bool ActivationStore::make_room(Time now, std::int32_t pages) {
  return make_pages(now, pages, std::numeric_limits<std::int32_t>::max(), std::nullopt);
}

void ActivationStore::reclaim(Time now, std::int32_t pages, bool urgent) {
  std::int32_t coming = 0;  // from copies under way that serving waits for
  for (const auto& [op, id] : copies_) {
    if (at(id).free_after_copy) coming += static_cast<std::int32_t>(at(id).pages.size());
  }
  if (urgent) coming = 0;
  while (coming < pages) {
    const auto id = victim(now, true, std::nullopt);
    if (!id) return;
    Record& record = at(*id);
    coming += static_cast<std::int32_t>(record.pages.size());
    if (record.on_host) {
      free_pages(record);
    } else if (!urgent && policy_.place && policy_.place->copy_out_under_pressure(place_view(record)) &&
               make_host_room(now, record.bytes)) {
      record.free_after_copy = true;
      start_copy_out(now, *id);
    } else {
      drop(now, *id);
    }
  }
}

bool ActivationStore::make_host_room(Time now, Bytes bytes) {
  if (bytes > config_.host_capacity) return false;
  while (host_used_ + bytes > config_.host_capacity) {
    const auto id = victim(now, false, std::nullopt);
    if (!id) return false;
    drop(now, *id);
  }
  return true;
}

bool ActivationStore::take_host(Time now, Bytes bytes) {
  if (bytes > Bytes() && !make_host_room(now, bytes)) return false;
  host_used_ += bytes;
  host_taken_ += bytes;
  return true;
}

void ActivationStore::give_host(Bytes bytes) {
  host_used_ -= bytes;
  host_taken_ -= bytes;
}

void ActivationStore::start_copy_out(Time, RecordId id) {
  Record& record = at(id);
  host_used_ += record.bytes;
  copying_bytes_ += record.bytes;
  record.copying_out = host_.submit(CopyOp{LinkDirection::kDeviceToHost, record.bytes, id, 0});
  copies_.emplace(*record.copying_out, id);
}

bool ActivationStore::on_copy_done(Time now, OpId op, Duration took) {
  const auto found = copies_.find(op);
  if (found == copies_.end()) return false;
  const RecordId id = found->second;
  copies_.erase(found);
  Record& record = at(id);
  record.copying_out.reset();
  record.on_host = true;
  record.copy_took = took;
  copying_bytes_ -= record.bytes;
  if (record.drop_after_copy) {
    record.drop_after_copy = false;
    drop(now, id);
  } else if (record.free_after_copy || !policy_.place->keep_after_copy(place_view(record))) {
    record.free_after_copy = record.users > 0;
    if (record.users == 0) free_pages(record);
  }
  return true;
}

void ActivationStore::on_feedback(Time now, const Feedback& feedback) {
  if (const auto found = by_request_.find(feedback.request); found != by_request_.end()) {
    Record& record = at(found->second);
    record.feedback_came = true;
    if (!record.needed_at && !record.fate_known) feedback_.learn(now - record.recorded_at, true);
    record.fate_known = true;
  }
}

double ActivationStore::saved_share(const Feedback& feedback, WeightVersion current, std::int32_t max_lag) const {
  const std::int32_t total = feedback.prompt_tokens + feedback.output_tokens;
  double saved = 0;
  for_each_part(feedback.session, total, [&](RecordId, const Record& record, std::int32_t, std::int32_t tokens) {
    if (lag_of(record, current) > max_lag) return false;
    saved += (record.lean ? config_.lean_saving : 1) * tokens;
    return true;
  });
  return saved / static_cast<double>(total);
}

Coverage ActivationStore::acquire(const Feedback& feedback, WeightVersion current, std::int32_t max_lag) {
  Coverage coverage;
  const auto take = [&](RecordId id, const Record& record, std::int32_t begin, std::int32_t tokens) {
    const std::int32_t lag = lag_of(record, current);
    if (lag > max_lag) {
      coverage.dropped_tokens += tokens;
      return false;
    }
    (record.on_gpu() ? coverage.resident_tokens : coverage.host_tokens) += tokens;
    if (record.lean) (record.on_gpu() ? coverage.resident_lean : coverage.host_lean) += tokens;
    coverage.version_lag = std::max(coverage.version_lag, lag);
    coverage.records.push_back(id);
    coverage.parts.push_back({0, begin, tokens, id, begin - record.first_token, record.lean, !record.on_gpu()});
    return true;
  };
  for_each_part(feedback.session, feedback.prompt_tokens + feedback.output_tokens, take);
  for (const RecordId id : coverage.records) ++at(id).users;
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
  const auto own = by_request_.find(request);
  if (own == by_request_.end()) return;
  Record& record = at(own->second);
  if (record.users > 0) return;  // another sample of its session uses it at this moment
  record.feedback_came = false;  // from here on nobody waits for it
  if (record.copying_out) {
    record.drop_after_copy = true;
  } else {
    drop(now, own->second);
  }
}

void ActivationStore::on_new_version(Time now, WeightVersion current, std::int32_t max_lag) {
  for (std::size_t i = 0; i < live_.size();) {
    const Record& record = at(live_[i]);
    const bool stale = static_cast<std::int64_t>(current.value()) - record.version.value() > max_lag;
    if (stale && record.complete && record.users == 0 && !record.copying_out) {
      drop(now, live_[i]);
    } else {
      ++i;
    }
  }
}

void ActivationStore::free_pages(Record& record) {
  pool_.release_first(record.pages);
  pages_ -= static_cast<std::int32_t>(record.pages.size());
  record.pages.clear();
}

void ActivationStore::drop(Time now, RecordId id) {
  Record& record = at(id);
  check(record.users == 0 && !record.copying_out, "a record in use is not dropped");
  free_pages(record);
  if (record.on_host) {
    host_used_ -= record.bytes;
    if (!record.was_reloaded) {
      totals_.wasted_copies += record.bytes;
      totals_.wasted_copy_time += record.copy_took;
    }
  }
  if (record.feedback_came) ++totals_.dropped_records;
  if (record.complete && !record.fate_known && !record.needed_at) feedback_.learn(now - record.recorded_at, false);
  host_.forget(id);
  by_request_.erase(record.request);
  auto session = by_session_.find(record.session);
  std::erase(session->second, id);
  if (session->second.empty()) by_session_.erase(session);
  at(live_.back()).live_index = record.live_index;
  live_[record.live_index] = live_.back();
  live_.pop_back();
  free_ids_.push_back(id);
}

void ActivationStore::expire(Time now) {
  if (policy_.keep_for == Duration::max()) return;
  for (std::size_t i = 0; i < live_.size();) {
    const Record& record = at(live_[i]);
    const bool old = now - record.recorded_at > policy_.keep_for;
    if (old && record.complete && !record.feedback_came && record.users == 0 && !record.copying_out) {
      drop(now, live_[i]);
    } else {
      ++i;
    }
  }
}

void ActivationStore::check_consistency() const {
  std::int32_t pages = 0;
  Bytes host = host_taken_;
  for (const RecordId id : live_) {
    const Record& record = records_[id.value()];
    pages += static_cast<std::int32_t>(record.pages.size());
    if (record.on_host || record.copying_out) host += record.bytes;
    check(record.on_gpu() || record.on_host || !record.complete, "a complete record lies somewhere");
    check(record.users >= 0, "users are counted");
  }
  check(pages == pages_ && host == host_used_, "bytes by tier agree with the records");
}

}  // namespace alchemist
