// What went wrong with a GPU, for callers that go on without what is not there.
#pragma once

#include "sim/base/error.h"

namespace alchemist::cuda {

// Whether the error is that a device failed (no driver, memory full, busy, lost), and not that this machine or this
// build does not have what was asked for.
bool device_failed(const ConfigError& error);

}  // namespace alchemist::cuda
