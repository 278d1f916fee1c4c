#include "sim/app/workload_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

namespace alchemist {
namespace {

constexpr std::array<double, 7> kQuantiles{0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99};
constexpr std::int32_t kBlock = 16;
constexpr std::size_t kBins = 60;

// One bar per value, in eight heights; the highest bar is the highest value.
std::string sparkline(const std::vector<double>& values) {
  constexpr std::array<const char*, 8> kBars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const double top = *std::max_element(values.begin(), values.end());
  std::string line;
  for (double v : values) line += kBars[top > 0 ? std::min<std::size_t>(7, static_cast<std::size_t>(v / top * 8)) : 0];
  return line;
}

}  // namespace

void WorkloadSummary::add(const WorkloadRequest& r) {
  if (requests_ > 0) {
    const double gap = (r.arrival - last_).in_seconds();
    gap_sum_ += gap;
    gap_square_sum_ += gap * gap;
  }
  ++requests_;
  last_ = r.arrival;
  const auto second = static_cast<std::size_t>(std::max<std::int64_t>(0, r.arrival.count_ns() / 1'000'000'000));
  if (constexpr std::size_t kLongest = 100'000'000; second < kLongest) {  // three years
    if (second >= per_second_.size()) per_second_.resize(second + 1);
    ++per_second_[second];
  }
  prompt_tokens_ += r.prompt_tokens;
  output_tokens_ += r.output_tokens;
  prompt_.add(r.prompt_tokens);
  output_.add(r.output_tokens);
  const auto [at, is_new] = sessions_.try_emplace(r.session.value());
  Session& session = at->second;
  ++session.turns;
  if (r.turn == 0) {
    first_prompt_.add(r.prompt_tokens);
  } else if (!is_new && session.content == r.content.content_id && r.prompt_tokens > session.history) {
    new_tokens_.add(r.prompt_tokens - session.history);
  }
  session.history = std::int64_t{r.prompt_tokens} + r.output_tokens;
  session.content = r.content.content_id;
  shared_tokens_ += shared_tokens(r);
}

std::int64_t WorkloadSummary::shared_tokens(const WorkloadRequest& r) {
  const PromptContent& content = r.content;
  const auto full_blocks = [](std::int64_t tokens) { return tokens - tokens % kBlock; };
  std::int64_t shared = 0;
  if (!content.chain_ids.empty()) {
    bool known = true;
    for (std::uint64_t id : content.chain_ids) {
      known = known && cached_chains_.contains(id);
      if (known) shared += content.chain_block_tokens;
      cached_chains_.insert(id);
    }
    return full_blocks(std::min<std::int64_t>(shared, r.prompt_tokens));
  }
  std::int64_t& cached = cached_[content.content_id];
  shared = full_blocks(std::min<std::int64_t>(cached, r.prompt_tokens));
  cached = std::max<std::int64_t>(cached, std::int64_t{r.prompt_tokens} + r.output_tokens);
  return shared;
}

std::vector<double> WorkloadSummary::rate_over_time(std::size_t bins) const {
  const std::size_t seconds = per_second_.size();
  bins = std::min(bins, seconds);
  std::vector<double> rates(bins, 0.0);
  for (std::size_t b = 0; b < bins; ++b) {
    const std::size_t begin = b * seconds / bins, end = (b + 1) * seconds / bins;
    for (std::size_t s = begin; s < end; ++s) rates[b] += static_cast<double>(per_second_[s]);
    rates[b] /= static_cast<double>(end - begin);
  }
  return rates;
}

double WorkloadSummary::gap_cv() const {
  const auto n = static_cast<double>(requests_ - 1);
  if (n < 2 || gap_sum_ <= 0) return 0;
  const double mean = gap_sum_ / n;
  return std::sqrt(std::max(0.0, gap_square_sum_ / n - mean * mean)) / mean;
}

std::vector<std::pair<std::string, const Distribution*>> WorkloadSummary::distributions() const {
  turns_ = Distribution();
  for (const auto& [id, session] : sessions_) turns_.add(session.turns);
  return {{"prompt_tokens", &prompt_},
          {"output_tokens", &output_},
          {"first_prompt_tokens", &first_prompt_},
          {"new_user_tokens", &new_tokens_},
          {"turns_per_session", &turns_}};
}

std::string WorkloadSummary::text(bool has_arrivals) const {
  std::string out;
  auto to = std::back_inserter(out);
  const double seconds = last_.in_seconds();
  fmt::format_to(to, "requests         {}\nsessions         {}\n", requests_, sessions_.size());
  fmt::format_to(to, "prompt tokens    {}\noutput tokens    {}\n", prompt_tokens_, output_tokens_);
  if (has_arrivals) {
    fmt::format_to(to, "last arrival     {:.3f} s\n", seconds);
    if (gap_sum_ > 0) {
      fmt::format_to(to, "rate             {:.4f} requests/s\ninterarrival cv  {:.3f}\n",
                     static_cast<double>(requests_ - 1) / gap_sum_, gap_cv());
    }
  } else {
    out += "arrivals         none in the file\n";
  }
  fmt::format_to(
      to, "prefix sharing   {:.1f} % of prompt tokens (full blocks of {}, infinite cache)\n\n",
      100.0 * static_cast<double>(shared_tokens_) / static_cast<double>(std::max<std::int64_t>(1, prompt_tokens_)),
      kBlock);
  fmt::format_to(to, "{:20s}{:>10s}{:>10s}", "quantiles", "count", "mean");
  for (double q : kQuantiles) fmt::format_to(to, "{:>9s}", fmt::format("P{:g}", 100 * q));
  out += '\n';
  for (const auto& [name, d] : distributions()) {
    if (d->count() == 0) continue;
    fmt::format_to(to, "{:20s}{:>10d}{:>10.1f}", name, d->count(), *d->mean());
    for (double q : kQuantiles) fmt::format_to(to, "{:>9.0f}", *d->quantile(q));
    out += '\n';
  }
  const std::vector<double> rates = rate_over_time(kBins);
  if (has_arrivals && rates.size() > 1) {
    fmt::format_to(to, "\nrate over time   0 to {:.3f} requests/s, {} parts of {:.1f} s\n{}\n",
                   *std::max_element(rates.begin(), rates.end()), rates.size(),
                   static_cast<double>(per_second_.size()) / static_cast<double>(rates.size()), sparkline(rates));
  }
  return out;
}

nlohmann::ordered_json WorkloadSummary::json(bool has_arrivals) const {
  nlohmann::ordered_json j;
  j["requests"] = requests_;
  j["sessions"] = sessions_.size();
  j["total_prompt_tokens"] = prompt_tokens_;
  j["total_output_tokens"] = output_tokens_;
  if (has_arrivals) {
    j["last_arrival_s"] = last_.in_seconds();
    if (gap_sum_ > 0) j["requests_per_s"] = static_cast<double>(requests_ - 1) / gap_sum_;
    j["interarrival_cv"] = gap_cv();
    j["rate_bin_s"] = static_cast<double>(per_second_.size()) /
                      static_cast<double>(std::max<std::size_t>(1, std::min(kBins, per_second_.size())));
    j["rate_over_time_per_s"] = rate_over_time(kBins);
  }
  j["prefix_sharing_fraction"] =
      static_cast<double>(shared_tokens_) / static_cast<double>(std::max<std::int64_t>(1, prompt_tokens_));
  std::vector<double> grid;
  for (int i = 0; i <= 100; ++i) grid.push_back(i / 100.0);
  for (const auto& [name, d] : distributions()) {
    if (d->count() == 0) continue;
    nlohmann::ordered_json q;
    q["count"] = d->count();
    q["mean"] = *d->mean();
    for (double p : kQuantiles) q[fmt::format("p{:g}", 100 * p)] = *d->quantile(p);
    q["percentiles_0_to_100"] = d->quantiles(grid);
    j[name] = q;
  }
  return j;
}

}  // namespace alchemist
