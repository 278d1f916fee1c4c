// Tasks and their outcomes as bytes (CBOR), for their way between ranks.
#pragma once

#include <string>

#include "sim/sweep/run_task.h"

namespace alchemist {

std::string task_message(const RunTask& task);
RunTask read_task(const std::string& message);

std::string outcome_message(const RunOutcome& outcome);
RunOutcome read_outcome(const std::string& message);

}  // namespace alchemist
