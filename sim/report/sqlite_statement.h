// A prepared SQL statement, finalised with the object.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

namespace alchemist {

class SqliteStatement {
 public:
  // OutputError "FILE: CAUSE" for whatever goes wrong, here and below. `sql` is one statement.
  SqliteStatement(sqlite3* database, const std::string& sql);

  // Parameters are numbered from 1. An empty text is NULL.
  SqliteStatement& bind(int parameter, std::int64_t value);
  SqliteStatement& bind(int parameter, const std::string& value);

  // True if there is a row, whose columns, numbered from 0, can then be read.
  bool step();
  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::string text(int column) const;  // empty for NULL

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// The OutputError of the last thing that went wrong in a database.
[[noreturn]] void fail_with_sqlite_error(sqlite3* database);

}  // namespace alchemist
