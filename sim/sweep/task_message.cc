#include "sim/sweep/task_message.h"

#include <nlohmann/json.hpp>

namespace alchemist {

namespace {

using nlohmann::json;

// Paths, and so texts of files and messages, may hold any bytes; JSON as text would have to be UTF-8.
std::string pack(const json& document) {
  std::string message;
  json::to_cbor(document, message);
  return message;
}

}  // namespace

std::string task_message(const RunTask& task) {
  json overrides = json::array();
  for (const YamlOverride& o : task.overrides) overrides.push_back({o.key_path, o.text, o.label, o.origin});
  json document{{"point", task.point},
                {"seed", task.seed},
                {"text", task.base->text},
                {"origin", task.base->origin},
                {"overrides", overrides}};
  if (task.directory) document["directory"] = task.directory->string();
  return pack(document);
}

RunTask read_task(const std::string& message) {
  const json document = json::from_cbor(message);
  RunTask task{.point = document.at("point").get<std::int64_t>(), .seed = document.at("seed").get<std::int64_t>()};
  task.base = std::make_shared<const SweepBase>(
      SweepBase{document.at("text").get<std::string>(), document.at("origin").get<std::string>()});
  for (const json& o : document.at("overrides"))
    task.overrides.push_back({o.at(0).get<std::string>(), o.at(1).get<std::string>(), o.at(2).get<std::string>(),
                              o.at(3).get<std::string>()});
  if (document.contains("directory")) task.directory = document.at("directory").get<std::string>();
  return task;
}

std::string outcome_message(const RunOutcome& outcome) {
  return pack({{"point", outcome.point},
               {"seed", outcome.seed},
               {"status", static_cast<int>(outcome.status)},
               {"message", outcome.message},
               {"config", outcome.config},
               {"summary", outcome.summary}});
}

RunOutcome read_outcome(const std::string& message) {
  const json document = json::from_cbor(message);
  return {.point = document.at("point").get<std::int64_t>(),
          .seed = document.at("seed").get<std::int64_t>(),
          .status = static_cast<RunStatus>(document.at("status").get<int>()),
          .message = document.at("message").get<std::string>(),
          .config = document.at("config").get<std::string>(),
          .summary = document.at("summary").get<std::string>()};
}

}  // namespace alchemist
