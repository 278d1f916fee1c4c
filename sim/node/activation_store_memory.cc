// Where records lie, and which of them give way.
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "sim/base/check.h"
#include "sim/node/activation_store.h"

namespace alchemist {

// A sixteenth of the memory stays free for what serving takes until records have been moved out of its way.
std::int32_t ActivationStore::most_pages() const {
  if (!config_.spare_memory) return config_.max_pages;
  return std::max(config_.max_pages, pages_ + pool_.spare() - reserve());
}

// Copies the least valuable record out if the policy does so under pressure; its memory comes free with the copy.
void ActivationStore::relieve(Time now) {
  const auto id = victim(now, Lies::kOnGpu, std::nullopt);
  if (!id || at(*id).on_host) return;
  if (at(*id).trained_as) return drop(now, *id);
  if (!policy_.place->copy_out_under_pressure(place_view())) return;
  if (!make_host_room(now, at(*id).bytes)) return;
  at(*id).free_after_copy = true;
  start_copy_out(now, *id);
}

PlaceView ActivationStore::place_view() const {
  return {link_backlog_s(), pool_.are_missed(pages_, 1, policy_.stretch),
          config_.page_bytes * (most_pages() - reserve() - pages_ + trained_records_.pages())};
}

double ActivationStore::value_of(Time now, const Record& record) const {
  EvictView view{now - record.recorded_at, record.ready_at.has_value(), false, {}};
  view.passed_over = record.ready_at && taken_at_ && *record.ready_at < *taken_at_;
  if (record.needed_at) view.needed_in = *record.needed_at - now;
  return policy_.evict ? policy_.evict->value(view) : 0;
}

// Who knows when records will be needed drops none for a newer one that is needed later. To others the newest is worth
// most, but for those whose feedback came: sparing these made no difference where it was tried.
bool ActivationStore::is_spared(Time now, const Record& record, const Record& newer) const {
  const bool clairvoyant = policy_.evict && policy_.evict->clairvoyant();
  return clairvoyant && !record.trained_as && value_of(now, record) >= value_of(now, newer);
}

// The complete record without user that is worth least, to make place for `except`: one that has been trained, or else
// what the policy says.
std::optional<RecordId> ActivationStore::victim(Time now, Lies lies, std::optional<RecordId> except) {
  // What is on both is wanted: of a trained one the pages on the GPU are freed at once.
  if (lies != Lies::kOnBoth) {
    for (const auto& [place, id] : lies == Lies::kOnGpu ? trained_records_.on_gpu() : trained_records_.on_host()) {
      if (may_leave(at(id), lies) && id != except) return id;
    }
  }
  std::optional<RecordId> least;
  double least_value = std::numeric_limits<double>::infinity();
  for (const RecordId id : live_) {
    const Record& record = at(id);
    if (!may_leave(record, lies) || id == except) continue;
    if (except && is_spared(now, record, at(*except))) continue;
    const double value = value_of(now, record);
    // Ties go to the older one, and then to the smaller id, so that the order of the list does not matter.
    if (!least || value < least_value ||
        (value == least_value && std::pair(record.recorded_at, id) < std::pair(at(*least).recorded_at, *least))) {
      least = id;
      least_value = value;
    }
  }
  return least;
}

void ActivationStore::take_off_list(const Record& record) {
  at(live_.back()).live_index = record.live_index;
  live_[record.live_index] = live_.back();
  live_.pop_back();
}

void ActivationStore::become_trained(RecordId id) {
  Record& record = at(id);
  take_off_list(record);
  record.trained_as =
      trained_records_.add(id, static_cast<std::int32_t>(std::ssize(record.pages)), host_bytes_of(record));
}

// Conversations go on so often that a copy of a trained record is worth making.
bool ActivationStore::trained_ones_are_used() const {
  constexpr std::int64_t kEnough = 32, kOneIn = 8;
  const auto known = static_cast<std::int64_t>(trained_records_.ever());
  return known < kEnough || kOneIn * used_again_ >= known;
}

// A later turn makes use of the record perhaps, the prefix cache of its memory certainly.
void ActivationStore::settle_trained(Time now, RecordId id) {
  Record& record = at(id);
  if (record.copying_out || !record.on_gpu()) return;
  if (record.on_host) return free_pages(record);
  if (pages_ <= config_.max_pages && !place_view().missed) return;
  const Bytes room = config_.host_capacity - host_used_ + trained_records_.host_bytes();
  const bool copy = policy_.place && policy_.place->uses_host() && trained_ones_are_used();
  if (!copy || room < host_pages(record.bytes) || !make_host_room(now, record.bytes)) return drop(now, id);
  start_copy_out(now, id);
}

bool ActivationStore::may_leave(const Record& record, Lies lies) {
  if (!record.complete || record.users > 0 || record.copying_out) return false;
  return record.on_gpu() == (lies != Lies::kOnHostAlone) && (record.on_host || lies == Lies::kOnGpu);
}

// Frees GPU memory for `pages` more by letting records that lie like `givers` go at once, while all of them together
// may hold `limit` and `spare` stay free. None goes where all that can go would not do.
bool ActivationStore::make_pages(Time now, std::int32_t pages, std::int32_t limit, std::optional<RecordId> except,
                                 Lies givers, std::int32_t spare) {
  std::int64_t missing = std::max(static_cast<std::int64_t>(pages_) + pages - limit,
                                  static_cast<std::int64_t>(pages) + spare - pool_.free());
  const auto count = [&](RecordId id) {
    const bool spared = except && is_spared(now, at(id), at(*except));
    if (may_leave(at(id), givers) && id != except && !spared) missing -= std::ssize(at(id).pages);
  };
  for (auto next = trained_records_.on_gpu().begin(); missing > 0 && next != trained_records_.on_gpu().end(); ++next) {
    count(next->second);
  }
  for (auto id = live_.begin(); missing > 0 && id != live_.end(); ++id) count(*id);
  if (missing > 0) return false;
  while (static_cast<std::int64_t>(pages_) + pages > limit || pool_.free() < pages + spare) {
    const auto id = victim(now, givers, except);
    if (!id) return false;
    at(*id).on_host ? free_pages(at(*id)) : drop(now, *id);
  }
  return true;
}

bool ActivationStore::make_room(Time now, std::int32_t pages) {
  return make_pages(now, pages, std::numeric_limits<std::int32_t>::max(), std::nullopt, Lies::kOnGpu);
}

std::int32_t ActivationStore::reclaim(Time now, std::int32_t pages, bool urgent) {
  return let_go(now, pages, urgent ? Leave::kAtOnce : Leave::kAsPolicySays);
}

// Records give `pages` back, now or when they have been copied out. Returns what is missing.
std::int32_t ActivationStore::let_go(Time now, std::int32_t pages, Leave leave) {
  std::int32_t coming = 0;  // from copies under way
  for (const auto& [op, id] : copies_) {
    if (at(id).free_after_copy) coming += static_cast<std::int32_t>(at(id).pages.size());
  }
  if (leave == Leave::kAtOnce) coming = 0;
  while (coming < pages) {
    const auto id = victim(now, Lies::kOnGpu, std::nullopt);
    if (!id) return pages - coming;
    Record& record = at(*id);
    coming += static_cast<std::int32_t>(record.pages.size());
    if (record.on_host) {
      free_pages(record);
    } else if (copies_before_leaving(record, leave) && make_host_room(now, record.bytes)) {
      record.free_after_copy = true;
      start_copy_out(now, *id);
    } else {
      drop(now, *id);
    }
  }
  return 0;
}

bool ActivationStore::copies_before_leaving(const Record& record, Leave leave) const {
  if (leave == Leave::kAtOnce || !policy_.place || record.trained_as) return false;
  return leave == Leave::kCopied ? policy_.place->uses_host() : policy_.place->copy_out_under_pressure(place_view());
}

Bytes ActivationStore::host_pages(Bytes bytes) const {
  return config_.page_bytes * ((bytes + config_.page_bytes - Bytes(1)) / config_.page_bytes);
}

Bytes ActivationStore::lacks_host(Bytes bytes, Bytes given_back, bool doubled_too) const {
  Bytes missing = host_used_ - host_pages(given_back) + host_pages(bytes) - config_.host_capacity;
  const auto count = [&](RecordId id) {
    const Record& record = records_[id.value()];
    if (may_leave(record, Lies::kOnHostAlone) || (doubled_too && may_leave(record, Lies::kOnBoth))) {
      missing -= host_pages(record.bytes);
    }
  };
  const TrainedRecords::InOrder& trained = trained_records_.on_host();
  for (auto next = trained.begin(); missing > Bytes() && next != trained.end(); ++next) count(next->second);
  for (auto id = live_.begin(); missing > Bytes() && id != live_.end(); ++id) count(*id);
  return missing;
}

Bytes ActivationStore::host_bytes_of(std::span<const RecordId> records) const {
  Bytes sum;
  for (const RecordId id : records) sum += host_bytes_of(records_[id.value()]);
  return sum;
}

// Records that are on the host alone give way, and, if `doubled_too` and need be, such as are on the GPU too.
bool ActivationStore::make_host_room(Time now, Bytes bytes, bool doubled_too) {
  if (lacks_host(bytes, Bytes(), doubled_too) > Bytes()) return false;
  while (host_used_ + host_pages(bytes) > config_.host_capacity) {
    auto id = victim(now, Lies::kOnHostAlone, std::nullopt);
    if (!id) id = victim(now, Lies::kOnBoth, std::nullopt);
    drop(now, id.value());
  }
  return true;
}

bool ActivationStore::take_host(Time now, Bytes bytes) {
  if (bytes > Bytes() && !make_host_room(now, bytes, true)) return false;
  host_used_ += host_pages(bytes);
  host_taken_ += host_pages(bytes);
  return true;
}

void ActivationStore::give_host(Bytes bytes) {
  host_used_ -= host_pages(bytes);
  host_taken_ -= host_pages(bytes);
}

void ActivationStore::start_copy_out(Time, RecordId id) {
  Record& record = at(id);
  host_used_ += host_pages(record.bytes);
  copying_bytes_ += record.bytes;
  copied_ += record.bytes;
  record.copying_out = host_.submit(CopyOp{LinkDirection::kDeviceToHost, record.bytes, id, 0});
  copies_.emplace(*record.copying_out, id);
}

bool ActivationStore::on_copy_done(Time now, OpId op) {
  const auto found = copies_.find(op);
  if (found == copies_.end()) return false;
  const RecordId id = found->second;
  copies_.erase(found);
  Record& record = at(id);
  record.copying_out.reset();
  record.on_host = true;
  copying_bytes_ -= record.bytes;
  if (record.free_after_copy || record.trained_as || !policy_.place->keep_after_copy(place_view())) {
    record.free_after_copy = record.users > 0;
    if (record.users == 0) free_pages(record);
    // What could stay when it was copied may be missed by now: with each that leaves another one does.
    if (const auto other = victim(now, Lies::kOnBoth, std::nullopt)) free_pages(at(*other));
  }
  return true;
}

void ActivationStore::free_pages(Record& record) {
  const auto pages = static_cast<std::int32_t>(record.pages.size());
  if (record.trained_as && pages > 0) trained_records_.leave_gpu(*record.trained_as, pages, host_bytes_of(record));
  pool_.release_first(record.pages);
  pages_ -= pages;
  record.pages.clear();
}

// Drops complete records without user for which `is_to_go` holds.
template <class IsToGo>
void ActivationStore::drop_where(Time now, IsToGo&& is_to_go) {
  const auto goes = [&](RecordId id) {
    const Record& record = at(id);
    return record.complete && record.users == 0 && !record.copying_out && is_to_go(record);
  };
  for (std::size_t i = 0; i < live_.size();) goes(live_[i]) ? drop(now, live_[i]) : static_cast<void>(++i);
  for (const TrainedRecords::InOrder* records : {&trained_records_.on_gpu(), &trained_records_.on_host()}) {
    for (auto next = records->begin(); next != records->end();) {
      const RecordId id = next++->second;
      if (goes(id)) drop(now, id);
    }
  }
}

void ActivationStore::on_new_version(Time now, WeightVersion current, std::int32_t max_lag) {
  drop_where(now, [&](const Record& record) {
    return static_cast<std::int64_t>(current.value()) - record.version.value() > max_lag;
  });
}

void ActivationStore::expire(Time now) {
  if (policy_.keep_for == Duration::max()) return;
  drop_where(now,
             [&](const Record& record) { return now - record.recorded_at > policy_.keep_for && !record.ready_at; });
}

}  // namespace alchemist
