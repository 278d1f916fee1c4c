#include "sim/report/results_database.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <utility>
#include <vector>

#include "sim/base/error.h"
#include "sim/report/sqlite_statement.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

class ResultsDatabaseTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "results.sqlite";
};

TEST_F(ResultsDatabaseTest, RunsAndAttributesSurvive) {
  {
    ResultsDatabase database(file_);
    EXPECT_EQ(database.attribute("sweep"), std::nullopt);
    database.set_attribute("sweep", "base: it's\n");
    database.put({.point = 3,
                  .seed = 9'000'000'000'000,
                  .axes = "{}",
                  .ok = true,
                  .message = "a \"warning\"",
                  .config = "model: x\n",
                  .summary = "{\"completed\": 1}"});
  }
  ResultsDatabase database(file_);
  EXPECT_EQ(database.attribute("sweep"), "base: it's\n");
  const std::optional<StoredRun> run = database.find(3, 9'000'000'000'000);
  ASSERT_TRUE(run);
  EXPECT_TRUE(run->ok);
  EXPECT_EQ(run->message, "a \"warning\"");
  EXPECT_EQ(run->config, "model: x\n");
  EXPECT_EQ(run->summary, "{\"completed\": 1}");
  EXPECT_FALSE(database.find(3, 1) || database.find(2, 9'000'000'000'000));
}

TEST_F(ResultsDatabaseTest, ALaterRunReplacesAnEarlierOne) {
  ResultsDatabase database(file_);
  database.put({.point = 0, .seed = 1, .axes = "{}", .ok = false, .message = "no memory", .config = "", .summary = ""});
  EXPECT_FALSE(database.find(0, 1)->ok);
  EXPECT_EQ(database.find(0, 1)->summary, "");
  database.put({.point = 0, .seed = 1, .axes = "{}", .ok = true, .message = "", .config = "c", .summary = "s"});
  EXPECT_TRUE(database.find(0, 1)->ok);
  EXPECT_EQ(database.find(0, 1)->message, "");
}

// However many runs were made at the same time, and whichever ended first.
TEST_F(ResultsDatabaseTest, RowsLieByPointAndSeed) {
  {
    ResultsDatabase database(file_);
    for (const auto& [point, seed] : std::vector<std::pair<int, int>>{{2, 1}, {0, 7}, {1, 3}, {0, 5}}) {
      database.put(
          {.point = point, .seed = seed, .axes = "{}", .ok = true, .message = "", .config = "", .summary = ""});
    }
  }
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file_.c_str(), &database), SQLITE_OK);
  std::string order;
  {
    SqliteStatement all(database, "SELECT point || '-' || seed || axes FROM runs");
    while (all.step()) order += all.text(0) + " ";
  }
  sqlite3_close(database);
  EXPECT_EQ(order, "0-5{} 0-7{} 1-3{} 2-1{} ");
}

// Readers look on while a sweep writes.
TEST_F(ResultsDatabaseTest, IsReadWhileItGrows) {
  ResultsDatabase writer(file_);
  writer.put({.point = 0, .seed = 1, .axes = "{}", .ok = true, .message = "", .config = "c", .summary = "s"});
  const ResultsDatabase reader(file_);
  EXPECT_TRUE(reader.find(0, 1));
  writer.put({.point = 0, .seed = 2, .axes = "{}", .ok = true, .message = "", .config = "c", .summary = "s"});
  EXPECT_TRUE(reader.find(0, 2));
}

TEST_F(ResultsDatabaseTest, SaysWhichFileCannotBeUsed) {
  std::ofstream(file_)
      << "my notes, nothing to do with SQL; they stay as they are, of course, whatever happens here.\n";
  try {
    ResultsDatabase database(file_);
    FAIL() << "a text file is no database";
  } catch (const OutputError& e) {
    EXPECT_NE(std::string(e.what()).find(file_.string()), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("not a database"), std::string::npos) << e.what();
  }
  EXPECT_THROW(ResultsDatabase(folder_.path() / "none" / "results.sqlite"), OutputError);
}

}  // namespace
}  // namespace alchemist
