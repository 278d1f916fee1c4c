// Cross-entropy of next tokens, loss and gradient in one call. The vocabulary is passed over in chunks that fit fast
// memory; the caller passes a chunk of rows at a time, so that logits never exist for more rows than that (the idea of
// Liger's fused linear cross-entropy, Hsu et al. 2024).
#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"
#include "sim/base/operator_work.h"

namespace alchemist {

//   loss[i] = log(sum_v exp(logits[i, v])) - logits[i, targets[i]]
//   logits[i, v] <- weight[i] * (exp(logits[i, v] - logsumexp) - (v == targets[i]))    only with `gradient`
template <class T>
struct CrossEntropy {
  T* logits;                     // [rows, vocabulary]
  const std::int32_t* targets;   // [rows], each in [0, vocabulary)
  const Accumulator<T>* weight;  // [rows]: d objective / d loss[i]; may be null without `gradient`
  Accumulator<T>* loss;          // [rows]
  std::int64_t rows;
  std::int64_t vocabulary;
  bool gradient;
};

// The most likely token of each row, the first of equals.
template <class T>
struct Argmax {
  const T* logits;       // [rows, vocabulary]
  std::int32_t* tokens;  // [rows]
  std::int64_t rows;
  std::int64_t vocabulary;
};

template <class T>
CallCost cost(const CrossEntropy<T>& call) {
  const double rows = static_cast<double>(call.rows);
  const double bytes = static_cast<double>(call.rows * call.vocabulary) * sizeof(T);
  Work work = cross_entropy_work(call.vocabulary);
  if (call.gradient) work += cross_entropy_gradient_work(call.vocabulary);
  // With the gradient logits are read twice, but the second time from a cache: they must come and go once.
  return {rows * work.vector_flops_per_token, (call.gradient ? 2 : 1) * bytes};
}
template <class T>
CallCost cost(const Argmax<T>& call) {
  const double elements = static_cast<double>(call.rows * call.vocabulary);
  return {elements, elements * sizeof(T)};
}

namespace cpu {
template <class T>
void cross_entropy(const CrossEntropy<T>& call);
template <class T>
void argmax(const Argmax<T>& call);
}  // namespace cpu

namespace cuda {
void cross_entropy(const CrossEntropy<BFloat16>& call, Stream stream);
void argmax(const Argmax<BFloat16>& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist
