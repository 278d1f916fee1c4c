#include "kernels/cuda/paged_units.cuh"
#include "kernels/gated_activation.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;

// A row of the grid's x for each token: the rows of a large batch are more than y may count.
dim3 grid_of(std::int64_t tokens, std::int64_t width) {
  check_runs(width, "gated activation: a width of whole runs");
  return dim3(static_cast<unsigned>(tokens), blocks_for(width / kRun, kThreads));
}

__device__ std::int64_t column_of_thread() {
  return (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kRun;
}

__device__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

// One place for forward and rebuild, so that both give the same bits.
__device__ float gated_value(float gate, float up, float s) { return gate * s * up; }

template <typename Record>
__global__ void gated_forward(GatedActivationForward<BFloat16> call, Record record) {
  const std::int64_t column = column_of_thread();
  if (column >= call.width) return;
  const std::int64_t token = blockIdx.x;
  const std::int64_t wide = token * 2 * call.width + column;
  const auto* row = reinterpret_cast<const std::uint16_t*>(call.gate_up) + wide;
  const uint4 gate_bits = load_bits(row), up_bits = load_bits(row + call.width);
  keep_run(record, wide, gate_bits);
  keep_run(record, wide + call.width, up_bits);
  float gate[kRun], up[kRun], gated[kRun];
  unpack(gate, gate_bits);
  unpack(up, up_bits);
#pragma unroll
  for (int e = 0; e < kRun; ++e) gated[e] = gated_value(gate[e], up[e], sigmoid(gate[e]));
  store_run(reinterpret_cast<std::uint16_t*>(call.gated) + token * call.width + column, gated);
}

// Everything is read before anything is written: outputs may lie over inputs.
__global__ void gated_backward(GatedActivationBackward<BFloat16> call) {
  const std::int64_t column = column_of_thread();
  if (column >= call.width) return;
  const std::int64_t token = blockIdx.x;
  const std::int64_t narrow = token * call.width + column, wide = token * 2 * call.width + column;
  const auto* row = reinterpret_cast<const std::uint16_t*>(call.gate_up) + wide;
  float gate[kRun], up[kRun], d_gated[kRun], gated[kRun], d_gate[kRun], d_up[kRun];
  load_run(gate, row);
  load_run(up, row + call.width);
  load_run(d_gated, reinterpret_cast<const std::uint16_t*>(call.d_gated) + narrow);
#pragma unroll
  for (int e = 0; e < kRun; ++e) {
    const float s = sigmoid(gate[e]);
    gated[e] = gated_value(gate[e], up[e], s);
    d_up[e] = d_gated[e] * gate[e] * s;
    d_gate[e] = d_gated[e] * up[e] * s * (1.0F + gate[e] * (1.0F - s));
  }
  auto* d_row = reinterpret_cast<std::uint16_t*>(call.d_gate_up) + wide;
  store_run(d_row, d_gate);
  store_run(d_row + call.width, d_up);
  if (call.gated != nullptr) store_run(reinterpret_cast<std::uint16_t*>(call.gated) + narrow, gated);
}

}  // namespace

void gated_activation_forward(const GatedActivationForward<BFloat16>& call, Stream stream) {
  with_record(call.record, call.tokens * 2 * call.width, [&](auto record) {
    launch(gated_forward<decltype(record)>, grid_of(call.tokens, call.width), dim3(kThreads), 0, stream, call, record);
  });
}

void gated_activation_backward(const GatedActivationBackward<BFloat16>& call, Stream stream) {
  launch(gated_backward, grid_of(call.tokens, call.width), dim3(kThreads), 0, stream, call);
}

}  // namespace alchemist::cuda
