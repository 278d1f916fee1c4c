#include "kernels/cuda/attention_forward.cuh"

#include "kernels/cuda/launch.cuh"
