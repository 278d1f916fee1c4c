// AdamW (Loshchilov and Hutter 2019, algorithm 2, with the schedule multiplier in the learning rate).
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

struct AdamWSettings {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

//   m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
//   master <- master - learning_rate (m / correction1 / (sqrt(v / correction2) + epsilon) + weight_decay master)
//   parameters <- master, rounded to T
// and the gradient is set to zero for the next step.
template <class T>
struct AdamW {
  T* parameters;           // [count]
  Accumulator<T>* master;  // [count]; null if T is as precise: then the parameters themselves
  Accumulator<T>* gradient;
  Accumulator<T>* first_moment;   // m
  Accumulator<T>* second_moment;  // v
  std::int64_t count;
  AdamWSettings settings;
  double correction1;  // 1 - beta1^step, step from 1
  double correction2;  // 1 - beta2^step
};

template <class T>
CallCost cost(const AdamW<T>& call) {
  const double count = static_cast<double>(call.count);
  const double states = call.master ? 8 : 6;  // gradient, m, v and master, each read and written
  return {16 * count, count * (states * sizeof(Accumulator<T>) + (call.master ? 1 : 2) * sizeof(T))};
}

namespace cpu {
template <class T>
void adamw(const AdamW<T>& call);
}

namespace cuda {
void adamw(const AdamW<BFloat16>& call, Stream stream);
}

}  // namespace alchemist
