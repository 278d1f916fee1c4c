#include "validate/kept_weights.h"

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr std::int64_t kAlignment = 256;  // bytes: as that of an allocation, which kernels rely on

}  // namespace

KeptWeights::KeptWeights(Decoder& model, std::int32_t versions)
    : model_(model),
      versions_(versions),
      place_bytes_((model.trained_bytes() + kAlignment - 1) / kAlignment * kAlignment),
      memory_(model.device(), versions * place_bytes_) {
  check(versions > 0, "some versions are kept");
  memory_.fill_zero();  // not in an update's time: a processor's memory is made when it is touched first
}

// A version's place is that of the one `versions` before it.
std::byte* KeptWeights::place_of(WeightVersion version) const {
  return memory_.data() + version.value() % versions_ * place_bytes_;
}

void KeptWeights::keep() { model_.copy_trained(place_of(model_.version())); }

const std::byte* KeptWeights::find(WeightVersion version) const {
  const std::int64_t lag = static_cast<std::int64_t>(model_.version().value()) - version.value();
  check(lag >= 0 && lag <= versions_, "weights under which something usable was recorded are kept");
  return lag == 0 ? nullptr : place_of(version);
}

}  // namespace alchemist
