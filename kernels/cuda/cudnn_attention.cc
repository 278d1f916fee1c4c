#include "kernels/cuda/cudnn_attention.h"

#include <bit>
#include <map>
#include <unordered_map>
#include <utility>

#include "kernels/cuda/cudnn_graphs.h"
#include "kernels/cuda/cudnn_layout.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/errors.h"

namespace alchemist::cuda {
namespace {

namespace fe = cudnn_frontend;

void check_cudnn(fe::error_t error, const char* doing) {
  if (error.is_bad()) throw DeviceError("cuDNN, " + std::string(doing) + ": " + error.get_message());
}

// The front end throws where a function or a library that it looks for is missing.
template <class Work>
auto with_front_end(Work&& work) {
  try {
    return work();
  } catch (const ConfigError&) { throw; } catch (const std::runtime_error& error) {
    throw ConfigError("cuDNN cannot be used: " + std::string(error.what()));
  }
}

std::int64_t aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Of a few lengths instead of all, so that a graph serves many calls.
std::int64_t rounded_up(std::int32_t length) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint32_t>(length)));
}

AttentionExtent extent_of(const AttentionShape& shape, const RowStrides& strides) {
  return {shape.sequences,
          shape.heads,
          shape.kv_heads,
          shape.head_dim,
          rounded_up(shape.max_queries),
          rounded_up(shape.max_keys),
          strides.q,
          strides.kv,
          strides.d_q};
}

template <class T>
void* address(const T* p) {
  return const_cast<void*>(static_cast<const void*>(p));  // cuDNN's table of addresses knows no const
}

using Graphs = std::map<AttentionExtent, CudnnGraph>;
using Addresses = std::unordered_map<std::int64_t, void*>;

}  // namespace

struct CudnnAttention::Body {
  explicit Body(GpuMemory& gpu) : memory(gpu), scratch(gpu) {}
  ~Body() {
    if (handle != nullptr) fe::detail::destroy_handle(handle);
  }

  CudnnGraph& graph_of(Graphs& graphs, const AttentionExtent& extent,
                       void (*describe)(CudnnGraph&, const AttentionExtent&)) {
    const auto [entry, is_new] = graphs.try_emplace(extent);
    if (!is_new) return entry->second;
    try {
      describe(entry->second, extent);
      with_front_end([&, &graph = entry->second] {
        check_cudnn(graph.build(handle, {fe::HeurMode_t::A}), "attention of this shape");
      });
    } catch (...) {
      graphs.erase(entry);
      throw;
    }
    return entry->second;
  }

  GpuMemory& memory;
  Workspace scratch;
  cudnnHandle_t handle = nullptr;
  Graphs forward, backward;
};

CudnnAttention::CudnnAttention(GpuMemory& memory) : body_(std::make_unique<Body>(memory)) {
  open_cudnn();
  const auto check_status = [](cudnnStatus_t status, const char* doing) {
    if (status != CUDNN_STATUS_SUCCESS) {
      throw DeviceError("cuDNN, " + std::string(doing) + ": " + fe::detail::get_error_string(status));
    }
  };
  with_front_end([&] {
    check_status(fe::detail::create_handle(&body_->handle), "opening");
    check_status(fe::detail::set_stream(body_->handle, memory.stream()), "setting the stream");
  });
}

CudnnAttention::~CudnnAttention() = default;

// Measured on an H200: cuDNN 9.14 rejects a single query of a single key, and gets gradients of several sequences with
// heads of 64 wrong (or, by its deterministic algorithm, stops with an illegal instruction). Only the size of head that
// was tested with models' shapes is left to it.
bool CudnnAttention::takes(const AttentionShape& shape) {
  return shape.head_dim == 128 && (shape.max_queries > 1 || shape.max_keys > 1);
}

void CudnnAttention::run(const AttentionForward<BFloat16>& call) {
  if (call.shape.sequences == 0) return;
  const RowStrides strides{call.q_stride, call.kv_stride, 0};
  CudnnGraph& graph = body_->graph_of(body_->forward, extent_of(call.shape, strides), describe_forward);
  const std::int64_t layout_bytes = aligned(CudnnLayout::bytes(call.shape.sequences));
  auto* scratch = static_cast<std::byte*>(body_->scratch.get(layout_bytes + graph.get_workspace_size()));
  const CudnnLayout layout(scratch, call.shape.sequences);
  lay_out(call.shape, strides, layout, body_->memory.stream());
  Addresses addresses = {{kQ, address(call.q)},      {kK, address(call.k)},     {kV, address(call.v)},
                         {kOut, call.out},           {kLse, call.lse},          {kQOffsets, layout.q},
                         {kKvOffsets, layout.kv},    {kOutOffsets, layout.out}, {kLseOffsets, layout.lse},
                         {kQueries, layout.queries}, {kKeys, layout.keys}};
  check_cudnn(graph.execute(body_->handle, addresses, scratch + layout_bytes), "attention");
}

void CudnnAttention::run(const AttentionBackward<BFloat16>& call) {
  const AttentionShape& shape = call.shape;
  if (shape.sequences == 0) return;
  const RowStrides strides{call.q_stride, call.kv_stride, call.d_q_stride};
  CudnnGraph& graph = body_->graph_of(body_->backward, extent_of(shape, strides), describe_backward);
  const std::int64_t layout_bytes = aligned(CudnnLayout::bytes(shape.sequences));
  const std::int64_t gradient_bytes = aligned(static_cast<std::int64_t>(sizeof(BFloat16)) * shape.sequences *
                                              shape.max_keys * shape.kv_heads * shape.head_dim);
  auto* scratch =
      static_cast<std::byte*>(body_->scratch.get(layout_bytes + 2 * gradient_bytes + graph.get_workspace_size()));
  const CudnnLayout layout(scratch, shape.sequences);
  auto* d_k = reinterpret_cast<BFloat16*>(scratch + layout_bytes);
  auto* d_v = reinterpret_cast<BFloat16*>(scratch + layout_bytes + gradient_bytes);
  lay_out(shape, strides, layout, body_->memory.stream());
  Addresses addresses = {{kQ, address(call.q)},
                         {kK, address(call.k)},
                         {kV, address(call.v)},
                         {kOut, address(call.out)},
                         {kLse, address(call.lse)},
                         {kDOut, address(call.d_out)},
                         {kDQ, call.d_q},
                         {kDK, d_k},
                         {kDV, d_v},
                         {kQOffsets, layout.q},
                         {kKvOffsets, layout.kv},
                         {kOutOffsets, layout.out},
                         {kLseOffsets, layout.lse},
                         {kDQOffsets, layout.d_q},
                         {kDKvOffsets, layout.d_kv},
                         {kQueries, layout.queries},
                         {kKeys, layout.keys}};
  check_cudnn(graph.execute(body_->handle, addresses, scratch + layout_bytes + 2 * gradient_bytes),
              "gradient of attention");
  add_compact(shape, d_k, call.d_k, body_->memory.stream());
  add_compact(shape, d_v, call.d_v, body_->memory.stream());
}

std::string CudnnAttention::version() const {
  const std::size_t number = fe::detail::get_backend_version();
  return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
         std::to_string(number % 100) + " from " + open_cudnn().path();
}

}  // namespace alchemist::cuda
