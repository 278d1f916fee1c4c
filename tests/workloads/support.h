// What the tests of workloads share: files with given text, and all requests of a source.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sim/base/error.h"
#include "workloads/drive.h"
#include "workloads/trace.h"
#include "workloads/workload_source.h"

namespace alchemist {

// A file of a test's own that is gone afterwards.
class TextFile {
 public:
  TextFile(const std::string& name, const std::string& text)
      : path_(std::filesystem::temp_directory_path() / ("alchemist_" + std::to_string(getpid()) + "_" + name)) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TextFile() { std::filesystem::remove(path_); }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline TraceSpec trace_of(const std::string& path) {
  TraceSpec spec;
  spec.path = path;
  return spec;
}

inline Trace read_text(const std::string& name, const std::string& text) {
  const TextFile file(name, text);
  return read_trace(trace_of(file.path()));
}

// The message of the ConfigError that reading the file gives; empty if it gives none.
inline std::string error_of(const TraceSpec& spec) {
  try {
    read_trace(spec);
  } catch (const ConfigError& e) { return e.what(); }
  return {};
}

inline WorkloadSpec generated(ArrivalSpec arrivals, LengthSpec lengths, std::int64_t requests) {
  GeneratedWorkload workload;
  workload.arrivals = std::move(arrivals);
  workload.lengths = std::move(lengths);
  WorkloadSpec spec;
  spec.source = workload;
  spec.requests = requests;
  return spec;
}

inline LengthSpec fixed_lengths(std::int64_t prompt, std::int64_t output) {
  return IndependentLengths{FixedTokens{prompt}, FixedTokens{output}};
}

// Without chain ids, which are valid only while the source lives.
inline std::vector<WorkloadRequest> requests_of(const WorkloadSpec& spec, std::uint64_t seed = 1) {
  std::vector<WorkloadRequest> requests;
  for_each_request(spec, seed, [&](const WorkloadRequest& r) {
    requests.push_back(r);
    requests.back().content.chain_ids = {};
  });
  return requests;
}

}  // namespace alchemist
