#include "sim/app/yaml_document.h"

#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "sim/base/error.h"

namespace alchemist {

namespace {

// Where documents, and what stands in them, begin.
class Starts : public YAML::EventHandler {
 public:
  struct Start {
    YAML::Mark document, content;
  };
  const std::vector<Start>& all() const { return starts_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    starts_.push_back({mark, mark});
    is_new_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { begin(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { begin(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    begin(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    begin(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    begin(mark);
  }
  void OnMapEnd() override {}

 private:
  void begin(const YAML::Mark& mark) {
    if (is_new_) starts_.back().content = mark;
    is_new_ = false;
  }

  std::vector<Start> starts_;
  bool is_new_ = false;
};

int line_of(const YAML::Mark& mark) { return std::max(0, mark.line + 1); }

// Stops at the second document: where one begins with a comma yaml-cpp takes nothing from the text, finds it empty and
// finds it again for ever (its issue 1040), until LoadAll has filled the memory.
void check_is_one_document(const std::string& text, const std::string& origin) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  Starts starts;
  while (starts.all().size() < 2 && parser.HandleNextDocument(starts)) {}
  if (starts.all().size() < 2) return;
  const Starts::Start &first = starts.all()[0], &second = starts.all()[1];
  if (first.document.pos == second.document.pos)
    throw ConfigError::at(origin, line_of(first.document), "not valid YAML: a comma without a list around it");
  throw ConfigError::at(origin, line_of(second.content), "expected one YAML document, got a second after \"---\"");
}

}  // namespace

YAML::Node load_document(const std::string& text, const std::string& origin) {
  try {
    check_is_one_document(text, origin);
    YAML::Node document = YAML::Load(text);
    if (!document.IsDefined() || document.IsNull()) throw ConfigError::at(origin, 0, "is empty");
    return document;
  } catch (const YAML::Exception& e) { throw ConfigError::at(origin, line_of(e.mark), "not valid YAML: " + e.msg); }
}

}  // namespace alchemist
