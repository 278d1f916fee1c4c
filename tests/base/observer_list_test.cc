#include "sim/base/observer_list.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace alchemist {
namespace {

// The names of the functions that are declared so.
std::set<std::string> declared(const std::string& header, const std::string& pattern) {
  std::ifstream file(std::filesystem::path(ALCHEMIST_SOURCE_DIR) / "sim/base" / header);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::regex declaration(pattern);
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it) names.insert((*it)[1]);
  return names;
}

// An observer need not override what it has no use for, so no compiler says what the list does not hand on.
TEST(ObserverList, HandsOnAllThatARunTells) {
  const std::set<std::string> told = declared("observer.h", R"(virtual void (on_\w+)\()");
  EXPECT_GE(told.size(), 9u);
  EXPECT_EQ(declared("observer_list.h", R"(void (on_\w+)\([^)]*\) override)"), told);
  EXPECT_EQ(declared("observer_list.h", R"(observers_\) o->(on_\w+)\()"), told);
}

// Adds its name to what was told.
class Named final : public RunObserver {
 public:
  Named(std::string& told, char name) : told_(told), name_(name) {}
  void on_token_gap(Time, Duration, std::int64_t) override { told_ += name_; }

 private:
  std::string& told_;
  char name_;
};

TEST(ObserverList, TellsThoseOfAListInItsPlace) {
  std::string told;
  Named a(told, 'a'), b(told, 'b'), c(told, 'c'), d(told, 'd');
  ObserverList inner{&b, &c};
  ObserverList middle{&inner};
  ObserverList outer{&a, &middle};
  outer.add(&d);
  outer.on_token_gap(Time(), Duration(), 1);
  EXPECT_EQ(told, "abcd");
}

}  // namespace
}  // namespace alchemist
