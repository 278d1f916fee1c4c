#include "kernels/adamw.h"

namespace alchemist::cpu {

template <class T>
void adamw(const AdamW<T>& call) {
  using A = Accumulator<T>;
  const AdamWSettings& s = call.settings;
  const A rate = static_cast<A>(s.learning_rate), decay = static_cast<A>(s.weight_decay);
  const A beta1 = static_cast<A>(s.beta1), beta2 = static_cast<A>(s.beta2), epsilon = static_cast<A>(s.epsilon);
  const A correction1 = static_cast<A>(call.correction1), correction2 = static_cast<A>(call.correction2);
  for (std::int64_t i = 0; i < call.count; ++i) {
    const A g = call.gradient[i];
    const A m = beta1 * call.first_moment[i] + (1 - beta1) * g;
    const A v = beta2 * call.second_moment[i] + (1 - beta2) * g * g;
    const A old = call.master ? call.master[i] : static_cast<A>(call.parameters[i]);
    const A updated = old - rate * (m / correction1 / (std::sqrt(v / correction2) + epsilon) + decay * old);
    call.first_moment[i] = m;
    call.second_moment[i] = v;
    if (call.master) call.master[i] = updated;
    call.parameters[i] = static_cast<T>(updated);
    call.gradient[i] = 0;
  }
}

template void adamw(const AdamW<float>&);
template void adamw(const AdamW<double>&);

}  // namespace alchemist::cpu
