#include "sim/model/largest_batch.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {

std::int64_t largest_batch_tokens(const BatchRoom& room) {
  check(room.per_token > Bytes() && room.fresh_share >= 0 && room.record_share >= 0 &&
            room.fresh_share + room.record_share > 0 && room.window_share > 0 && room.window_share <= 1,
        "a batch's tokens take memory");
  const double bytes = room.per_token.as_double(), fresh = room.fresh_share, record = room.record_share;
  const double gpu = std::max(room.gpu, Bytes()).as_double() / bytes;  // all in tokens from here on
  const double host = room.host.as_double() / bytes, resident = room.resident.as_double() / bytes;
  // A batch that fills the memory to the byte is not to be lost to rounding.
  const auto whole = [](double tokens) { return static_cast<std::int64_t>(tokens * (1 + 1e-12)); };
  const double on_gpu = fresh + record * room.window_share;
  if (record * gpu / on_gpu <= host) return whole(gpu / on_gpu);
  const double by_host = host / record;
  const double more = std::min((gpu - by_host * on_gpu) / (fresh + record), resident / record);
  return whole(by_host + more);
}

}  // namespace alchemist
