#include "workloads/trace_source.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace alchemist {

TraceSource::TraceSource(Trace trace, std::optional<std::int64_t> requests, std::optional<Duration> duration)
    : trace_(std::move(trace)), limit_(requests) {
  check(trace_.has_arrivals, "a trace to replay has arrivals");
  if (duration) end_ = Time() + *duration;
  // The turns of a session that follow each other stand in order: the first of them is the one to begin with.
  for (std::size_t i = 0; i < trace_.rows.size(); ++i) {
    if (trace_.rows[i].after_previous) follower_.try_emplace(trace_.rows[i].session, i);
  }
  skip_followers();
}

void TraceSource::skip_followers() {
  while (next_row_ < trace_.rows.size() && trace_.rows[next_row_].after_previous) ++next_row_;
}

bool TraceSource::follower_is_next() const {
  if (due_.empty()) return false;
  return next_row_ == trace_.rows.size() || due_.top().at < Time() + trace_.rows[next_row_].arrival;
}

std::optional<Time> TraceSource::peek() const {
  if (limit_ && given_ >= *limit_) return std::nullopt;
  if (due_.empty() && next_row_ == trace_.rows.size()) return std::nullopt;
  const Time at = follower_is_next() ? due_.top().at : Time() + trace_.rows[next_row_].arrival;
  if (end_ && at >= *end_) return std::nullopt;
  return at;
}

WorkloadRequest TraceSource::next() {
  const std::optional<Time> at = peek();
  check(at.has_value(), "no request is pending");
  std::size_t row = next_row_;
  if (follower_is_next()) {
    row = due_.top().row;
    due_.pop();
    const std::size_t after = row + 1;
    const bool goes_on = after < trace_.rows.size() && trace_.rows[after].session == trace_.rows[row].session;
    if (goes_on) {
      follower_[trace_.rows[row].session] = after;
    } else {
      follower_.erase(trace_.rows[row].session);
    }
  } else {
    ++next_row_;
    skip_followers();
  }
  ++given_;
  if (follower_.contains(trace_.rows[row].session)) awaited_.insert(trace_.rows[row].session);
  return request_of(trace_.rows[row], *at);
}

WorkloadRequest TraceSource::request_of(const TraceRow& row, Time arrival) const {
  WorkloadRequest request;
  request.arrival = arrival;
  request.session = SessionId(row.session);
  request.turn = row.turn;
  request.prompt_tokens = row.prompt_tokens;
  request.output_tokens = row.output_tokens;
  request.content.content_id = mix64(hash_name("workload.trace"), row.content);
  if (row.chain_count > 0) {
    request.content.chain_ids = std::span(trace_.chain_ids).subspan(row.chain_begin, row.chain_count);
    request.content.chain_block_tokens = trace_.chain_block_tokens;
  }
  return request;
}

void TraceSource::on_finished(SessionId session, std::int32_t, Time now) {
  if (awaited_.erase(session.value()) == 0) return;
  const std::size_t row = follower_.at(session.value());
  due_.push({now + *trace_.rows[row].after_previous, row});
}

bool TraceSource::exhausted() const {
  if (limit_ && given_ >= *limit_) return true;
  return awaited_.empty() && !peek();
}

std::optional<std::int64_t> TraceSource::total_requests() const {
  if (end_) return std::nullopt;
  const auto rows = static_cast<std::int64_t>(trace_.rows.size());
  return limit_ ? std::min(*limit_, rows) : rows;
}

}  // namespace alchemist
