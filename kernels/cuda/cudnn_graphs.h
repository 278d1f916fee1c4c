// Attention as cuDNN's graphs, with the formulas of kernels/attention.h. Only sources that run or check the graphs
// include this: it brings in cuDNN's front end.
#pragma once

#include <cudnn_frontend.h>

#include <compare>
#include <cstdint>

namespace alchemist::cuda {

// What a graph is made for; in elements. Sequences may be shorter than the longest ones, and lie anywhere.
struct AttentionExtent {
  std::int64_t sequences = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t longest_queries = 0;
  std::int64_t longest_keys = 0;
  std::int64_t q_stride = 0;
  std::int64_t kv_stride = 0;
  std::int64_t d_q_stride = 0;  // backward
  auto operator<=>(const AttentionExtent&) const = default;
};

// Names of the tensors, for cuDNN's table of addresses. Of each the array of row offsets (cudnn_layout.h) is one too.
enum CudnnTensor : std::int64_t {
  kQ = 1,
  kK,
  kV,
  kOut,
  kLse,
  kDOut,
  kDQ,
  kDK,
  kDV,
  kQOffsets,
  kKvOffsets,
  kOutOffsets,
  kLseOffsets,
  kDQOffsets,
  kDKvOffsets,
  kQueries,
  kKeys,
};

using CudnnGraph = cudnn_frontend::graph::Graph;

void describe_forward(CudnnGraph& graph, const AttentionExtent& extent);
// Deterministic. The gradients of keys and values are overwritten, in bf16.
void describe_backward(CudnnGraph& graph, const AttentionExtent& extent);

}  // namespace alchemist::cuda
