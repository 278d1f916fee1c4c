#include "kernels/cuda/cudnn_library.h"

// The front end's own name for the library's handle, which it declares and its user defines.
namespace cudnn_frontend {
extern void* cudnn_dlhandle;
void* cudnn_dlhandle = nullptr;
}  // namespace cudnn_frontend

namespace alchemist::cuda {

const Library& open_cudnn() {
  // cuDNN's front end looks for it by its name alone.
  static const Library runtime({.title = "the CUDA runtime",
                                .environment = "ALCHEMIST_CUDART",
                                .files = {"libcudart.so.13", "libcudart.so.12"},
                                .wheels = {"nvidia/cu13/lib", "nvidia/cuda_runtime/lib"}});
  static const Library library(
      {.title = "cuDNN", .environment = "ALCHEMIST_CUDNN", .files = {"libcudnn.so.9"}, .wheels = {"nvidia/cudnn/lib"}});
  cudnn_frontend::cudnn_dlhandle = library.handle();
  return library;
}

}  // namespace alchemist::cuda
