#include "kernels/cuda/cudnn_graphs.h"

#include <cmath>
#include <memory>

namespace alchemist::cuda {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Attributes = fe::graph::Tensor_attributes;

class Description {
 public:
  Description(CudnnGraph& graph, const AttentionExtent& extent) : graph_(graph), extent_(extent) {
    graph.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    queries_ = lengths(kQueries);
    keys_ = lengths(kKeys);
  }

  Tensor offsets(CudnnTensor name) {
    return graph_.tensor(Attributes()
                             .set_uid(name)
                             .set_dim({extent_.sequences + 1, 1, 1, 1})
                             .set_stride({1, 1, 1, 1})
                             .set_data_type(fe::DataType_t::INT64));
  }

  Tensor input(CudnnTensor name, std::int64_t heads, std::int64_t longest, std::int64_t stride, const Tensor& offsets) {
    return graph_.tensor(shaped(Attributes().set_uid(name), heads, longest, extent_.head_dim, stride, offsets));
  }

  void output(const Tensor& tensor, CudnnTensor name, std::int64_t heads, std::int64_t longest, std::int64_t stride,
              const Tensor& offsets) {
    shaped(tensor->set_output(true).set_uid(name), heads, longest, extent_.head_dim, stride, offsets);
  }

  // [sequences, heads, rows, 1] in f32, stored as [rows, heads].
  Attributes& sums(Attributes& attributes, const Tensor& offsets) {
    const std::int64_t h = extent_.heads, rows = extent_.longest_queries;
    return attributes.set_dim({extent_.sequences, h, rows, 1})
        .set_stride({rows * h, 1, h, 1})
        .set_data_type(fe::DataType_t::FLOAT)
        .set_ragged_offset(offsets);
  }

  // Query i of a sequence attends to the keys 0 .. keys - queries + i: the mask's diagonal ends in the corner.
  template <class Sdpa>
  Sdpa masked(Sdpa sdpa) const {
    sdpa.set_attn_scale(1.0F / std::sqrt(static_cast<float>(extent_.head_dim)))
        .set_padding_mask(true)
        .set_seq_len_q(queries_)
        .set_seq_len_kv(keys_)
        .set_causal_mask_bottom_right(true);
    return sdpa;
  }

 private:
  Tensor lengths(CudnnTensor name) {
    return graph_.tensor(Attributes()
                             .set_uid(name)
                             .set_dim({extent_.sequences, 1, 1, 1})
                             .set_stride({1, 1, 1, 1})
                             .set_data_type(fe::DataType_t::INT32));
  }

  // [sequences, heads, rows, dim], stored as rows of `stride` elements with the heads side by side.
  Attributes& shaped(Attributes& attributes, std::int64_t heads, std::int64_t longest, std::int64_t dim,
                     std::int64_t stride, const Tensor& offsets) const {
    return attributes.set_dim({extent_.sequences, heads, longest, dim})
        .set_stride({longest * stride, dim, stride, 1})
        .set_ragged_offset(offsets);
  }

  CudnnGraph& graph_;
  const AttentionExtent& extent_;
  Tensor queries_, keys_;
};

}  // namespace

void describe_forward(CudnnGraph& graph, const AttentionExtent& e) {
  Description tensors(graph, e);
  const Tensor kv_offsets = tensors.offsets(kKvOffsets);
  const Tensor q = tensors.input(kQ, e.heads, e.longest_queries, e.q_stride, tensors.offsets(kQOffsets));
  const Tensor k = tensors.input(kK, e.kv_heads, e.longest_keys, e.kv_stride, kv_offsets);
  const Tensor v = tensors.input(kV, e.kv_heads, e.longest_keys, e.kv_stride, kv_offsets);
  const auto [out, lse] = graph.sdpa(q, k, v, tensors.masked(fe::graph::SDPA_attributes().set_generate_stats(true)));
  tensors.output(out, kOut, e.heads, e.longest_queries, e.heads * e.head_dim, tensors.offsets(kOutOffsets));
  tensors.sums(lse->set_output(true).set_uid(kLse), tensors.offsets(kLseOffsets));
}

void describe_backward(CudnnGraph& graph, const AttentionExtent& e) {
  Description tensors(graph, e);
  const std::int64_t width = e.heads * e.head_dim, kv_width = e.kv_heads * e.head_dim;
  const Tensor kv_offsets = tensors.offsets(kKvOffsets), out_offsets = tensors.offsets(kOutOffsets);
  const Tensor d_kv_offsets = tensors.offsets(kDKvOffsets);
  const Tensor q = tensors.input(kQ, e.heads, e.longest_queries, e.q_stride, tensors.offsets(kQOffsets));
  const Tensor k = tensors.input(kK, e.kv_heads, e.longest_keys, e.kv_stride, kv_offsets);
  const Tensor v = tensors.input(kV, e.kv_heads, e.longest_keys, e.kv_stride, kv_offsets);
  const Tensor out = tensors.input(kOut, e.heads, e.longest_queries, width, out_offsets);
  const Tensor d_out = tensors.input(kDOut, e.heads, e.longest_queries, width, out_offsets);
  Attributes lse_attributes;
  const Tensor lse = graph.tensor(tensors.sums(lse_attributes.set_uid(kLse), tensors.offsets(kLseOffsets)));
  // Not the deterministic algorithm, which took about 1.2 times as long on an H200 (cuDNN 9.14, in another call, shared
  // with other programs): who wants the same bits in every run has our own kernels.
  const auto [d_q, d_k, d_v] =
      graph.sdpa_backward(q, k, v, out, d_out, lse, tensors.masked(fe::graph::SDPA_backward_attributes()));
  tensors.output(d_q, kDQ, e.heads, e.longest_queries, e.d_q_stride, tensors.offsets(kDQOffsets));
  tensors.output(d_k, kDK, e.kv_heads, e.longest_keys, kv_width, d_kv_offsets);
  tensors.output(d_v, kDV, e.kv_heads, e.longest_keys, kv_width, d_kv_offsets);
}

}  // namespace alchemist::cuda
