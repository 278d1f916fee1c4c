// How large matrix products divide over the processors of a GPU: output tiles of 128 x 128 are handed out in whole
// waves, and a last wave that is not full costs as much as a full one.
#pragma once

#include <cmath>

namespace alchemist {

inline constexpr double kTile = 128;  // edge of the output tile of a large matrix product

inline double tiles_along(double size) { return std::ceil(size / kTile); }

// The time of so many tiles in units of what one tile takes where all processors work. Few tiles are split along the
// inner dimension instead, so that all processors have work: at worst one wave.
inline double padded_tiles(double tiles, double processors) {
  return tiles < processors ? tiles : std::ceil(tiles / processors) * processors;
}

}  // namespace alchemist
