#include "sim/report/sqlite_statement.h"

#include <cstring>

#include "sim/base/error.h"

namespace alchemist {

void fail_with_sqlite_error(sqlite3* database) {
  const char* const name = sqlite3_db_filename(database, "main");
  const std::string file = name == nullptr ? "database" : name;
  // "disk I/O error" alone does not say whether the disk is full, broken, or a quota is reached; the system does.
  const int system = sqlite3_system_errno(database);
  const std::string cause = system == 0 ? "" : std::string(" (") + std::strerror(system) + ")";
  throw OutputError("cannot write or read " + file + ": " + sqlite3_errmsg(database) + cause);
}

SqliteStatement::SqliteStatement(sqlite3* database, const std::string& sql) : database_(database) {
  sqlite3_stmt* statement = nullptr;
  const int status = sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr);
  statement_.reset(statement);
  if (status != SQLITE_OK) fail_with_sqlite_error(database);
}

SqliteStatement& SqliteStatement::bind(int parameter, std::int64_t value) {
  if (sqlite3_bind_int64(statement_.get(), parameter, value) != SQLITE_OK) fail_with_sqlite_error(database_);
  return *this;
}

SqliteStatement& SqliteStatement::bind(int parameter, const std::string& value) {
  const int status = value.empty() ? sqlite3_bind_null(statement_.get(), parameter)
                                   : sqlite3_bind_text(statement_.get(), parameter, value.data(),
                                                       static_cast<int>(value.size()), SQLITE_TRANSIENT);
  if (status != SQLITE_OK) fail_with_sqlite_error(database_);
  return *this;
}

bool SqliteStatement::step() {
  const int status = sqlite3_step(statement_.get());
  if (status != SQLITE_ROW && status != SQLITE_DONE) fail_with_sqlite_error(database_);
  return status == SQLITE_ROW;
}

std::string SqliteStatement::text(int column) const {
  const auto* const text = sqlite3_column_text(statement_.get(), column);
  return text == nullptr ? "" : reinterpret_cast<const char*>(text);
}

}  // namespace alchemist
