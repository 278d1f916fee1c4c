// What a matrix product of a library leaves to do for the bias of a linear operator.
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/linear.h"

namespace alchemist::cuda {

// y[i, :] = bias, or += bias if the call accumulates: to be done before y += scale * x W^T. Precondition: call.bias.
void start_with_bias(const LinearForward<BFloat16>& call, Stream stream);

// d_bias += scale * the sum of the rows of d_y. Precondition: call.d_bias.
void add_bias_gradient(const LinearWeightGradient<BFloat16>& call, Stream stream);

}  // namespace alchemist::cuda
