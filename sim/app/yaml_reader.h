// Reads a YAML file into plain structs with errors that name file, line and key. Every mapping knows which of its keys
// were asked for; finish() turns the others into "unknown key" errors. Quantities carry units in the text.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/time.h"

namespace alchemist {

// A value that the command line put in place of the file's.
struct YamlOverride {
  std::string key_path;  // "serving.block_size"
  std::string text;      // of the value, as YAML
  std::string label;     // what messages name instead of file and line: "--set serving.block_size=16"
  std::string origin;    // file it stands in, which paths in it are relative to; empty: none, the working directory
};

// Where values come from.
struct YamlSource {
  std::string origin;
  std::vector<YamlOverride> overrides;
};

// One value of a YAML document together with where it stands. Cheap to copy: copies share the document.
class YamlValue {
 public:
  // Reads a file. Throws ConfigError if it is missing, unreadable, not YAML, empty, or has a key twice.
  static YamlValue load(const std::string& path);
  // The same from text; `origin` stands in for the file name in messages (for example "--set").
  static YamlValue parse(const std::string& text, const std::string& origin);
  // A node made in memory (overrides already merged); `origin` as above.
  YamlValue(YAML::Node node, std::string origin, std::string key_path);

  // Puts the values in their places in this document, which must be a whole file; mappings on the way are made where
  // absent. Where a top-level key among `named` holds a text, the name of something, it becomes {base: NAME} first.
  // ConfigError if a text is not YAML or a key on the way holds no mapping.
  YamlValue with_overrides(const std::vector<YamlOverride>& overrides, const std::set<std::string>& named = {}) const;

  const std::string& origin() const;                         // file the value stands in, or that of what put it there
  const std::string& key_path() const { return key_path_; }  // "serving.block_size"; empty at the top
  int line() const { return line_; }                         // 1-based; 0 if it stands in no file
  const YAML::Node& node() const { return node_; }

  bool is_map() const { return node_.IsMap(); }
  bool is_scalar() const { return node_.IsScalar(); }

  // "expected WHAT", as messages begin.
  std::string expected(const std::string& what) const { return expected_ + what; }
  // True if this is the word that may stand in place of what is asked for next, whose messages then name it too.
  bool is(std::string_view word);

  // Scalars. Each throws ConfigError "FILE:LINE: key KEY: expected WHAT, got TEXT" when the text does not fit.
  std::string as_string() const;
  std::string as_name() const;  // without control characters: tables and messages show it
  bool as_bool() const;         // true | false
  std::int64_t as_int(std::int64_t min, std::int64_t max) const;
  double as_number(double min, double max) const;  // finite
  Bytes as_bytes() const;                          // "80 GiB", "16 KB"; units B kB KB MB GB TB KiB MiB GiB TiB
  Duration as_duration() const;                    // "2.5 ms"; units ns us ms s min h; >= 0
  double as_rate() const;                          // bytes/s: "25 GB/s"
  double as_flops() const;                         // FLOP/s: "989 TFLOP/s"; units GFLOP/s TFLOP/s PFLOP/s
  std::vector<YamlValue> as_list() const;          // elements of a sequence

  // A part of the same document. `key` is the node that messages take the line from if `node` is empty text.
  YamlValue child(const YAML::Node& node, const YAML::Node& key, std::string key_path) const;

  // ConfigError "FILE:LINE: key KEY: MESSAGE"; for a value from the command line "--set KEY=TEXT: key KEY: MESSAGE".
  // What the command line put below this value is named, too.
  [[noreturn]] void fail(std::string_view message) const;
  // The same for values that are each right but do not go together: where it would be the file that is named, the
  // message tells what the command line changed.
  [[noreturn]] void fail_together(std::string_view message) const;

 private:
  const YamlOverride* override_around() const;  // the one that this value is part of, or none
  std::vector<std::string> labels_below() const;
  YAML::Node node_;
  int line_ = 0;
  std::shared_ptr<const YamlSource> source_;
  std::string key_path_;
  std::string expected_ = "expected ";  // begins messages
};

// The keys of one mapping. Usage: YamlMap map(value); a = map.required("a").as_int(1, 9); if (auto b =
// map.optional("b")) …; map.finish().
class YamlMap {
 public:
  explicit YamlMap(const YamlValue& value);  // ConfigError if it is no mapping

  YamlValue required(const std::string& key);  // ConfigError if absent
  std::optional<YamlValue> optional(const std::string& key);
  std::vector<std::string> keys() const;  // in the order of the file
  // For "one of these": the single key present of a mapping such as {poisson: {...}}. ConfigError if not exactly one,
  // or not among `choices` (the message lists them and suggests the nearest).
  std::string single_key(const std::vector<std::string>& choices);
  const YamlValue& value() const { return value_; }
  // ConfigError for the first key that nobody asked for; the message lists the known keys and suggests the nearest.
  void finish() const;

 private:
  YamlValue value_;
  std::set<std::string> asked_;
};

// A node as YAML on one line; "nothing" if there is none.
std::string flow_text(const YAML::Node& node);

// The nearest of `choices` to `text` by edit distance, if any is near enough to be a likely typing error.
std::optional<std::string> nearest_name(const std::string& text, const std::vector<std::string>& choices);

}  // namespace alchemist
