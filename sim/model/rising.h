// Measured times that noise makes fall where there is more to do.
#pragma once

#include <utility>
#include <vector>

namespace alchemist {

// Of points (size, time), ascending by size: times that do not fall. Where they do, neighbours share their mean
// (isotonic regression by pooling adjacent violators, Ayer et al. 1955). A line through the last two of them never ends
// below zero.
std::vector<std::pair<double, double>> rising(std::vector<std::pair<double, double>> points);

}  // namespace alchemist
