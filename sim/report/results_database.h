// The results of a sweep in one SQLite file, which grows run by run and can be read while it does.
//
//   CREATE TABLE sweep (key TEXT PRIMARY KEY, value TEXT NOT NULL)
//       what the runs have in common: `schema` (1), `engine` (version and git hash), `sweep` (text of sweep.yaml)
//   CREATE TABLE runs (point INTEGER, seed INTEGER, axes TEXT, status TEXT, message TEXT, config TEXT, summary TEXT,
//                      PRIMARY KEY (point, seed)) WITHOUT ROWID
//       one row a run, which lie by point and seed, in whatever order they were done;
//       axes: a JSON object, key path -> value as in results.csv; status: ok | failed; config: the resolved experiment
//       (YAML); summary: the text of summary.json. `config` and `summary` are NULL where there is none.
//
// In pandas: pd.read_sql("SELECT point, seed, summary ->> 'train_tokens_per_s' FROM runs", sqlite3.connect(file)).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

struct sqlite3;

namespace alchemist {

struct StoredRun {
  std::int64_t point = 0;
  std::int64_t seed = 0;
  std::string axes;
  bool ok = false;
  std::string message;
  std::string config;   // empty: none
  std::string summary;  // empty: none
};

// One process writes at a time; readers do not disturb it. A run is in the file completely or not at all, whenever the
// process or the machine stops. Every failure is an OutputError that names the file and the cause.
class ResultsDatabase {
 public:
  explicit ResultsDatabase(const std::filesystem::path& file);  // made where it is missing

  std::optional<std::string> attribute(const std::string& key) const;
  void set_attribute(const std::string& key, const std::string& value);

  std::optional<StoredRun> find(std::int64_t point, std::int64_t seed) const;
  void put(const StoredRun& run);  // in place of an earlier one

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace alchemist
