#include "sim/report/results_database.h"

#include <sqlite3.h>

#include "sim/base/error.h"
#include "sim/report/sqlite_statement.h"

namespace alchemist {

namespace {

constexpr int kBusyMilliseconds = 10'000;  // how long a reader that holds the file is waited for

void execute(sqlite3* database, const std::string& sql) {
  SqliteStatement statement(database, sql);
  while (statement.step()) {}
}

}  // namespace

void ResultsDatabase::Close::operator()(sqlite3* database) const { sqlite3_close(database); }

ResultsDatabase::ResultsDatabase(const std::filesystem::path& file) {
  sqlite3* database = nullptr;
  const int status = sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  database_.reset(database);
  if (database == nullptr) throw OutputError("cannot write " + file.string() + ": out of memory");
  if (status != SQLITE_OK) fail_with_sqlite_error(database);
  sqlite3_busy_timeout(database, kBusyMilliseconds);
  execute(database, "PRAGMA journal_mode = WAL");
  execute(database, "CREATE TABLE IF NOT EXISTS sweep (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  execute(database,
          "CREATE TABLE IF NOT EXISTS runs (point INTEGER, seed INTEGER, axes TEXT, status TEXT, message TEXT, "
          "config TEXT, summary TEXT, PRIMARY KEY (point, seed)) WITHOUT ROWID");
}

std::optional<std::string> ResultsDatabase::attribute(const std::string& key) const {
  SqliteStatement select(database_.get(), "SELECT value FROM sweep WHERE key = ?");
  if (!select.bind(1, key).step()) return std::nullopt;
  return select.text(0);
}

void ResultsDatabase::set_attribute(const std::string& key, const std::string& value) {
  SqliteStatement(database_.get(), "INSERT OR REPLACE INTO sweep VALUES (?, ?)").bind(1, key).bind(2, value).step();
}

std::optional<StoredRun> ResultsDatabase::find(std::int64_t point, std::int64_t seed) const {
  SqliteStatement select(database_.get(),
                         "SELECT axes, status, message, config, summary FROM runs WHERE point = ? AND seed = ?");
  if (!select.bind(1, point).bind(2, seed).step()) return std::nullopt;
  return StoredRun{.point = point,
                   .seed = seed,
                   .axes = select.text(0),
                   .ok = select.text(1) == "ok",
                   .message = select.text(2),
                   .config = select.text(3),
                   .summary = select.text(4)};
}

void ResultsDatabase::put(const StoredRun& run) {
  SqliteStatement insert(database_.get(), "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)");
  insert.bind(1, run.point).bind(2, run.seed).bind(3, run.axes).bind(4, std::string(run.ok ? "ok" : "failed"));
  insert.bind(5, run.message).bind(6, run.config).bind(7, run.summary).step();
}

}  // namespace alchemist
