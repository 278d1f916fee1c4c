// Ctrl-C, and the end that a batch system or mpirun asks for, noticed between two runs instead of in the middle of one.
#pragma once

#include "sim/base/error.h"

namespace alchemist {

class Interrupted : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

// From its making on, SIGINT and SIGTERM wait for throw_if_asked() in this thread and in those that it starts.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  void throw_if_asked();  // Interrupted "stopped by SIGTERM"

 private:
  int descriptor_;
};

}  // namespace alchemist
