// Kernel times measured on one GPU for one model, or for one GPU's part of it, as a profiler writes them, and reading
// them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace alchemist {

// A function of one variable given at points: linear between them, constant below the first, and beyond the last along
// the last segment.
class PointSeries {
 public:
  PointSeries() = default;
  // Points of equal x are averaged. At least one point.
  explicit PointSeries(std::vector<std::pair<double, double>> points);
  double at(double x) const;
  double last_x() const { return points_.back().first; }
  const std::vector<std::pair<double, double>>& points() const { return points_; }

 private:
  std::vector<std::pair<double, double>> points_;  // x increasing
};

// A function of N variables given on a full grid: multilinear between its points, constant below the first point of an
// axis, and beyond the last along the last segment.
template <std::size_t N>
class Grid {
 public:
  using Point = std::array<std::int32_t, N>;
  Grid() = default;
  // Takes every point; returns the first point of the full grid that is missing, if any (the grid is then unusable).
  std::vector<Point> fill(const std::map<Point, double>& values);
  double at(const std::array<double, N>& x) const;
  bool empty() const { return values_.empty(); }
  const std::vector<double>& axis(std::size_t i) const { return axes_[i]; }

 private:
  std::array<std::vector<double>, N> axes_;
  std::vector<double> values_;  // last axis fastest
};

// An uneven batch of decodes, and the same batch with all at the mean context.
struct UnevenBatch {
  std::int32_t decodes = 0;
  std::int64_t context_sum = 0;
  std::int32_t context_max = 0;
  double extra_us = 0;  // time of the uneven batch minus that of the even one; may be negative
};

// Times in microseconds, of one GPU. Dense operators and attention are those of one layer unless the name says
// otherwise.
struct KernelProfile {
  std::string origin;                // folder or file it was read from
  std::int32_t tensor_parallel = 1;  // GPUs that the layer was split over; what passes between them is not in it
  PointSeries layer_dense;           // by tokens: everything of a layer but attention
  PointSeries embedding;             // by tokens, once a step
  PointSeries final_norm;            // by tokens, once a step
  PointSeries head;                  // by sequences: output head and sampler, once a step
  Grid<2> decode;                    // by (decodes, context of each)
  Grid<4> mixed;                     // by (prompt chunk, its context, decodes, context of each); decodes may be 0
  std::vector<UnevenBatch> uneven;   // empty if the profile has none
  bool whole_layers = false;         // by `alchemist calibrate`, which knows nothing of the kernels inside
  bool has_attention() const { return !decode.empty(); }
};

// Reads a profile folder as LLMServingSim and `alchemist calibrate` write them. The latter measures whole steps, so
// that dense.csv has the rows "layer" in place of single operators (a step without attention and head, divided by the
// layers), and per_sequence.csv has "head" alone. LLMServingSim's folder: dense.csv (layer,tokens,time_us),
// per_sequence.csv (layer,sequences,time_us), attention.csv (prefill_chunk,kv_prefill,n_decode,kv_decode,time_us) and,
// if there, skew.csv. ConfigError with file and line for a missing file or column, a time that is not positive, an
// unknown or missing operator, and a point missing from the attention grid.
KernelProfile read_llmservingsim_profile(const std::string& folder);

// Reads Vidur's table of dense operators (medians in ms by num_tokens and tensor_parallel), rows of the given degree.
// It has no attention and no head: has_attention() is false. ConfigError as above, and if no row has that degree (the
// message lists those there are).
KernelProfile read_vidur_profile(const std::string& file, std::int32_t tensor_parallel);

}  // namespace alchemist
