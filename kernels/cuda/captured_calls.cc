#include "kernels/cuda/captured_calls.h"

#include <utility>

#include "kernels/cuda/errors.h"

namespace alchemist::cuda {

CapturedCalls::~CapturedCalls() { forget(); }

void CapturedCalls::forget() noexcept {
  if (graph_ != nullptr) cudaGraphExecDestroy(std::exchange(graph_, nullptr));
}

void CapturedCalls::run(const std::function<void()>& calls) {
  if (ran_with_ != workspace_.generation()) {
    forget();
    calls();
    ran_with_ = workspace_.generation();
    return;
  }
  if (graph_ == nullptr) capture(calls);
  check_cuda(cudaGraphLaunch(graph_, stream_), "start of a graph");
}

// Threads that copy over the link go on meanwhile: only what this one calls is captured, or refused.
void CapturedCalls::capture(const std::function<void()>& calls) {
  check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture of a graph");
  cudaGraph_t graph = nullptr;
  try {
    calls();
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream_, &graph), "capture of a graph");
  const cudaError_t error = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(error, "making a graph");
}

}  // namespace alchemist::cuda
