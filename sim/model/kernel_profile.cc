#include "sim/model/kernel_profile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/base/line_reader.h"

namespace alchemist {

PointSeries::PointSeries(std::vector<std::pair<double, double>> points) {
  check(!points.empty(), "a series has at least one point");
  std::sort(points.begin(), points.end());
  for (std::size_t i = 0; i < points.size();) {
    double sum = 0;
    std::size_t j = i;
    for (; j < points.size() && points[j].first == points[i].first; ++j) sum += points[j].second;
    points_.emplace_back(points[i].first, sum / static_cast<double>(j - i));
    i = j;
  }
}

double PointSeries::at(double x) const {
  if (x <= points_.front().first || points_.size() == 1) return points_.front().second;
  auto right = std::lower_bound(points_.begin(), points_.end(), x,
                                [](const std::pair<double, double>& p, double value) { return p.first < value; });
  if (right == points_.end()) --right;
  const auto left = right - 1;
  return left->second + (right->second - left->second) * (x - left->first) / (right->first - left->first);
}

template <std::size_t N>
std::vector<typename Grid<N>::Point> Grid<N>::fill(const std::map<Point, double>& values) {
  std::array<std::set<std::int32_t>, N> axes;
  for (const auto& [point, value] : values) {
    for (std::size_t i = 0; i < N; ++i) axes[i].insert(point[i]);
  }
  std::size_t size = 1;
  for (std::size_t i = 0; i < N; ++i) {
    axes_[i].assign(axes[i].begin(), axes[i].end());
    size *= axes_[i].size();
  }
  values_.assign(size, 0);
  for (std::size_t index = 0; index < size; ++index) {
    Point point;
    std::size_t rest = index;
    for (std::size_t i = N; i-- > 0; rest /= axes_[i].size()) {
      point[i] = static_cast<std::int32_t>(axes_[i][rest % axes_[i].size()]);
    }
    const auto found = values.find(point);
    if (found == values.end()) return {point};
    values_[index] = found->second;
  }
  return {};
}

template <std::size_t N>
double Grid<N>::at(const std::array<double, N>& x) const {
  std::array<std::size_t, N> lower;
  std::array<double, N> weight;  // of the upper neighbour
  for (std::size_t i = 0; i < N; ++i) {
    const std::vector<double>& axis = axes_[i];
    if (axis.size() == 1 || x[i] <= axis.front()) {
      lower[i] = 0;
      weight[i] = 0;
      continue;
    }
    std::size_t k = 1;  // axes are powers of two and short: a linear search is the quickest
    while (k + 1 < axis.size() && axis[k] < x[i]) ++k;
    lower[i] = k - 1;
    weight[i] = (x[i] - axis[k - 1]) / (axis[k] - axis[k - 1]);
  }
  double sum = 0;
  for (unsigned corner = 0; corner < (1u << N); ++corner) {
    double product = 1;
    std::size_t index = 0;
    for (std::size_t i = 0; i < N; ++i) {
      const bool upper = (corner >> i) & 1u;
      product *= upper ? weight[i] : 1 - weight[i];
      index = index * axes_[i].size() + std::min(lower[i] + (upper ? 1 : 0), axes_[i].size() - 1);
    }
    if (product != 0) sum += product * values_[index];
  }
  return sum;
}

template class Grid<2>;
template class Grid<4>;

namespace {

using Series = std::map<std::string, std::vector<std::pair<double, double>>>;

double positive_time(CsvReader& csv, std::size_t column) {
  const double value = csv.number(column);
  if (value <= 0) csv.fail("expected a time greater than 0");
  return value;
}

Series read_by_operator(const std::string& path, std::string_view size_column, const std::set<std::string>& expected) {
  CsvReader csv(path);
  const std::size_t layer = csv.column({"layer"});
  const std::size_t size = csv.column({size_column});
  const std::size_t time = csv.column({"time_us"});
  Series series;
  while (csv.next()) {
    if (!expected.contains(csv.field(layer))) {
      std::string names;
      for (const std::string& name : expected) names += (names.empty() ? "" : ", ") + name;
      csv.fail("unknown operator \"" + csv.field(layer) + "\": expected one of " + names);
    }
    series[csv.field(layer)].emplace_back(csv.tokens(size), positive_time(csv, time));
  }
  for (const std::string& name : expected) {
    if (!series.contains(name)) throw ConfigError::at(path, 0, "has no row for operator \"" + name + "\"");
  }
  return series;
}

// A weighted sum of series at all the points that any of them has.
PointSeries sum_of(const std::vector<std::pair<PointSeries, double>>& terms) {
  std::set<double> xs;
  for (const auto& [series, factor] : terms) {
    for (const auto& [x, y] : series.points()) xs.insert(x);
  }
  std::vector<std::pair<double, double>> points;
  for (const double x : xs) {
    double sum = 0;
    for (const auto& [series, factor] : terms) sum += factor * series.at(x);
    points.emplace_back(x, sum);
  }
  return PointSeries(points);
}

template <std::size_t N>
void fill_grid(Grid<N>& grid, const std::map<std::array<std::int32_t, N>, double>& values, const std::string& path,
               const std::string& columns) {
  if (values.empty()) throw ConfigError::at(path, 0, "has no rows with " + columns);
  for (const auto& missing : grid.fill(values)) {
    throw ConfigError::at(
        path, 0,
        fmt::format("has a hole: no row with {} = {}; expected every combination of the values that occur", columns,
                    fmt::join(missing, ",")));
  }
}

// The rate at which long contexts stream is a slope between the two longest of the largest batch. Nothing is made of it
// where whole layers were measured.
void check_streaming_rate(const Grid<2>& decode, bool whole_layers, const std::string& path) {
  const std::vector<double>& contexts = decode.axis(1);
  if (contexts.size() < 2) throw ConfigError::at(path, 0, "expected at least two values of kv_decode");
  const double n = decode.axis(0).back(), shorter = contexts[contexts.size() - 2], longest = contexts.back();
  const double more = decode.at({n, longest}) - decode.at({n, shorter});
  if (more > 0 || (whole_layers && more == 0)) return;
  const auto text = [](double x) { return std::to_string(static_cast<std::int64_t>(x)); };
  throw ConfigError::at(path, 0,
                        "expected a time that rises with the context: n_decode " + text(n) +
                            " does not from kv_decode " + text(shorter) + " to " + text(longest));
}

void read_attention(const std::string& path, KernelProfile& profile) {
  CsvReader csv(path);
  const std::size_t chunk = csv.column({"prefill_chunk"});
  const std::size_t kv_prefill = csv.column({"kv_prefill"});
  const std::size_t n_decode = csv.column({"n_decode"});
  const std::size_t kv_decode = csv.column({"kv_decode"});
  const std::size_t time = csv.column({"time_us"});
  std::map<Grid<2>::Point, double> decode;
  std::map<Grid<4>::Point, double> mixed;
  std::map<std::pair<std::int32_t, std::int32_t>, double> prompts_alone;
  std::set<std::int32_t> contexts;
  while (csv.next()) {
    const std::int32_t c = csv.tokens(chunk), p = csv.tokens(kv_prefill), n = csv.tokens(n_decode),
                       k = csv.tokens(kv_decode);
    const double us = positive_time(csv, time);
    if (c == 0 && n == 0) csv.fail("expected prefill_chunk or n_decode greater than 0");
    if ((n == 0) != (k == 0)) csv.fail("expected n_decode and kv_decode both 0 or both greater than 0");
    if (c == 0) {
      decode[{n, k}] = us;
    } else if (n == 0) {
      prompts_alone[{c, p}] = us;
    } else {
      mixed[{c, p, n, k}] = us;
      contexts.insert(k);
    }
  }
  // Without decodes their context has no meaning: the same time at every point of that axis.
  for (const auto& [prompt, us] : prompts_alone) {
    for (const std::int32_t k : contexts) mixed[{prompt.first, prompt.second, 0, k}] = us;
  }
  fill_grid(profile.decode, decode, path, "n_decode,kv_decode");
  check_streaming_rate(profile.decode, profile.whole_layers, path);
  fill_grid(profile.mixed, mixed, path, "prefill_chunk,kv_prefill,n_decode,kv_decode");
}

void read_skew(const std::string& path, KernelProfile& profile) {
  CsvReader csv(path);
  const std::size_t regime = csv.column({"regime"}), n = csv.column({"n"}), nb = csv.column({"nb"}),
                    small = csv.column({"kvs"}), big = csv.column({"kv_big"}), mean = csv.column({"t_mean_us"}),
                    skew = csv.column({"t_skew_us"}), kv_mean = csv.column({"kv_mean"});
  // The times of skew.csv may be sums over iterations where attention.csv has means. Their unit follows from the rows
  // that both have: even batches. The median is robust against the short rows, where fixed costs differ.
  std::vector<double> ratios;
  while (csv.next()) {
    if (csv.field(regime) != "pure") continue;  // a batch of decodes alone
    UnevenBatch batch;
    batch.decodes = csv.tokens(n);
    const std::int64_t long_ones = csv.tokens(nb), kv_big = csv.tokens(big), kv_small = csv.tokens(small);
    if (batch.decodes < 1 || long_ones > batch.decodes) csv.fail("expected n of at least 1 and nb of at most n");
    batch.context_sum = long_ones * kv_big + (batch.decodes - long_ones) * kv_small;
    batch.context_max = static_cast<std::int32_t>(kv_big);
    batch.extra_us = positive_time(csv, skew) - positive_time(csv, mean);
    profile.uneven.push_back(batch);
    const double mean_context = csv.number(kv_mean);
    if (mean_context <= 0) csv.fail("expected kv_mean greater than 0");
    const double even = profile.decode.at({static_cast<double>(batch.decodes), mean_context});
    ratios.push_back(positive_time(csv, mean) / even);
  }
  if (ratios.empty()) return;
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  const double unit = std::max(1.0, std::round(ratios[ratios.size() / 2]));
  for (UnevenBatch& batch : profile.uneven) batch.extra_us /= unit;
}

PointSeries series(const Series& from, const char* name) { return PointSeries(from.at(name)); }

void read_operators(const std::filesystem::path& path, KernelProfile& profile) {
  const Series dense = read_by_operator(path / "dense.csv", "tokens",
                                        {"act_fn", "down_proj", "embedding", "final_layernorm", "gate_up_proj",
                                         "layernorm", "o_proj", "qkv_proj", "rotary_emb"});
  profile.layer_dense = sum_of({{series(dense, "qkv_proj"), 1},
                                {series(dense, "o_proj"), 1},
                                {series(dense, "gate_up_proj"), 1},
                                {series(dense, "down_proj"), 1},
                                {series(dense, "act_fn"), 1},
                                {series(dense, "rotary_emb"), 1},
                                {series(dense, "layernorm"), 2}});
  profile.embedding = series(dense, "embedding");
  profile.final_norm = series(dense, "final_layernorm");
  const Series heads = read_by_operator(path / "per_sequence.csv", "sequences", {"lm_head", "sampler"});
  profile.head = sum_of({{series(heads, "lm_head"), 1}, {series(heads, "sampler"), 1}});
}

bool has_whole_layers(const std::string& path) {
  CsvReader csv(path);
  const std::size_t layer = csv.column({"layer"});
  return csv.next() && csv.field(layer) == "layer";
}

void read_whole_layers(const std::filesystem::path& path, KernelProfile& profile) {
  profile.layer_dense = series(read_by_operator(path / "dense.csv", "tokens", {"layer"}), "layer");
  profile.embedding = profile.final_norm = PointSeries({{0, 0}});
  profile.head = series(read_by_operator(path / "per_sequence.csv", "sequences", {"head"}), "head");
}

}  // namespace

KernelProfile read_llmservingsim_profile(const std::string& folder) {
  const std::filesystem::path path(folder);
  KernelProfile profile;
  profile.origin = folder;
  const bool whole_layers = has_whole_layers(path / "dense.csv");
  profile.whole_layers = whole_layers;
  whole_layers ? read_whole_layers(path, profile) : read_operators(path, profile);
  read_attention(path / "attention.csv", profile);
  if (std::filesystem::exists(path / "skew.csv")) read_skew(path / "skew.csv", profile);
  return profile;
}

KernelProfile read_vidur_profile(const std::string& file, std::int32_t tensor_parallel) {
  CsvReader csv(file);
  const std::size_t tokens = csv.column({"num_tokens"});
  const std::size_t degree = csv.column({"tensor_parallel"});
  const std::size_t embedding = csv.column({"emb_ms"});
  const std::vector<std::size_t> of_layer = {
      csv.column({"input_layernorm_ms"}),          csv.column({"attn_pre_proj_ms"}), csv.column({"attn_rope_ms"}),
      csv.column({"attn_post_proj_ms"}),           csv.column({"mlp_up_proj_ms"}),   csv.column({"mlp_act_ms"}),
      csv.column({"post_attention_layernorm_ms"}), csv.column({"mlp_down_proj_ms"}), csv.column({"add_ms"})};
  std::vector<std::pair<double, double>> layer_points, embedding_points, norm_points;
  std::set<std::int32_t> degrees;
  while (csv.next()) {
    const std::int32_t row_degree = csv.tokens(degree);
    degrees.insert(row_degree);
    if (row_degree != tensor_parallel) continue;
    const double n = csv.tokens(tokens);
    double sum_ms = 0;
    for (const std::size_t column : of_layer) sum_ms += positive_time(csv, column);
    sum_ms += csv.number(of_layer.back());  // two residual additions a layer
    layer_points.emplace_back(n, sum_ms * 1e3);
    embedding_points.emplace_back(n, positive_time(csv, embedding) * 1e3);
    norm_points.emplace_back(n, csv.number(of_layer.front()) * 1e3);
  }
  if (layer_points.empty()) {
    std::string list;
    for (const std::int32_t d : degrees) list += (list.empty() ? "" : ", ") + std::to_string(d);
    throw ConfigError::at(file, 0,
                          "has no rows for tensor_parallel " + std::to_string(tensor_parallel) +
                              (list.empty() ? "" : "; it has " + list));
  }
  KernelProfile profile;
  profile.origin = file;
  profile.tensor_parallel = tensor_parallel;
  profile.layer_dense = PointSeries(layer_points);
  profile.embedding = PointSeries(embedding_points);
  profile.final_norm = PointSeries(norm_points);
  return profile;
}

}  // namespace alchemist
