// A CUDA stream as it appears in declarations that must compile without CUDA's headers.
#pragma once

struct CUstream_st;

namespace alchemist::cuda {

using Stream = CUstream_st*;  // cudaStream_t

}  // namespace alchemist::cuda
