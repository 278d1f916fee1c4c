#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/row_sum.h"

namespace alchemist::cpu {
namespace {

constexpr std::int64_t kChunk = 1024;  // of the vocabulary: what a pass reads twice stays in the L1 cache

// log(sum(exp(logits))), a chunk at a time: the sum so far is scaled down when a chunk has a higher maximum.
template <class T>
T log_sum_exp(const T* logits, std::int64_t vocabulary) {
  T highest = -std::numeric_limits<T>::infinity(), sum = 0;
  for (std::int64_t first = 0; first < vocabulary; first += kChunk) {
    const T* chunk = logits + first;
    const std::int64_t count = std::min(kChunk, vocabulary - first);
    const T above = std::max(highest, row_max(count, chunk));
    const T chunk_sum = row_sum<T>(count, [=](std::int64_t j) { return exponential(chunk[j] - above); });
    sum = sum * exponential(highest - above) + chunk_sum;
    highest = above;
  }
  return highest + std::log(sum);
}

}  // namespace

template <class T>
void cross_entropy(const CrossEntropy<T>& call) {
  for (std::int64_t i = 0; i < call.rows; ++i) {
    T* logits = call.logits + i * call.vocabulary;
    const T total = log_sum_exp(logits, call.vocabulary);
    call.loss[i] = total - logits[call.targets[i]];
    if (!call.gradient) continue;
    const T weight = call.weight[i];
    for (std::int64_t v = 0; v < call.vocabulary; ++v) logits[v] = weight * exponential(logits[v] - total);
    logits[call.targets[i]] -= weight;
  }
}

template <class T>
void argmax(const Argmax<T>& call) {
  for (std::int64_t i = 0; i < call.rows; ++i) {
    const T* row = call.logits + i * call.vocabulary;
    call.tokens[i] = static_cast<std::int32_t>(std::max_element(row, row + call.vocabulary) - row);
  }
}

template void cross_entropy(const CrossEntropy<float>&);
template void cross_entropy(const CrossEntropy<double>&);
template void argmax(const Argmax<float>&);
template void argmax(const Argmax<double>&);

}  // namespace alchemist::cpu
