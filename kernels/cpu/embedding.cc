#include "kernels/embedding.h"

#include <algorithm>

namespace alchemist::cpu {

template <class T>
void embedding_forward(const EmbeddingForward<T>& call) {
  for (std::int64_t i = 0; i < call.count; ++i) {
    std::copy_n(call.table + call.tokens[i] * call.hidden, call.hidden, call.out + i * call.hidden);
  }
}

template <class T>
void embedding_backward(const EmbeddingBackward<T>& call) {
  for (std::int64_t i = 0; i < call.count; ++i) {
    const T* from = call.d_out + i * call.hidden;
    Accumulator<T>* to = call.d_table + call.tokens[i] * call.hidden;
    for (std::int64_t j = 0; j < call.hidden; ++j) to[j] += from[j];
  }
}

template void embedding_forward(const EmbeddingForward<float>&);
template void embedding_forward(const EmbeddingForward<double>&);
template void embedding_backward(const EmbeddingBackward<float>&);
template void embedding_backward(const EmbeddingBackward<double>&);

}  // namespace alchemist::cpu
