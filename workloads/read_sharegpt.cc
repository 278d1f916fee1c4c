// ShareGPT JSON: an array of conversations, each an array of messages with a role and a text.
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "sim/base/error.h"
#include "workloads/limits.h"
#include "workloads/read_trace.h"
#include "workloads/sentencepiece.h"

namespace alchemist {
namespace {

using nlohmann::json;

// Tokens of a text by the tokenizer that the user names or the ratio that the user states.
class TokenCounter {
 public:
  explicit TokenCounter(const TraceSpec& spec) : characters_per_token_(spec.characters_per_token) {
    if (spec.tokenizer) model_ = SentencePieceModel::load(*spec.tokenizer);
    if (!model_ && !characters_per_token_) {
      throw ConfigError::at(spec.path, 0,
                            "holds text, not token counts: expected a tokenizer (a SentencePiece .model) or "
                            "characters_per_token, as in lengths: {empirical: {file: FILE, characters_per_token: 4}}");
    }
  }
  std::int64_t count(std::string_view text) const {
    if (model_) return model_->count(text);
    std::int64_t characters = 0;
    for (std::size_t at = 0; at < text.size(); at += utf8_length(text, at)) ++characters;
    return static_cast<std::int64_t>(std::ceil(static_cast<double>(characters) / *characters_per_token_));
  }

 private:
  std::optional<SentencePieceModel> model_;
  std::optional<double> characters_per_token_;
};

// Yields the elements of a top-level JSON array one by one with the lines on which they begin, so that only one of them
// is held as a tree and errors can name its line.
class ArrayElements {
 public:
  explicit ArrayElements(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw ConfigError::at(path, 0, "cannot be opened for reading");
    text_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // the mark that some editors put before UTF-8
    skip_space();
    if (at_ == text_.size() || text_[at_] != '[')
      throw ConfigError::at(path_, line_, "expected a JSON array ([ ... ])");
    ++at_;
  }
  // The next element's text; none at the end of the array, behind which it is not to be called.
  std::optional<std::string_view> next() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == ',' && !first_) {
      ++at_;
      skip_space();
    }
    if (at_ < text_.size() && text_[at_] == ']') {
      ++at_;
      skip_space();
      if (at_ < text_.size()) throw ConfigError::at(path_, line_, "goes on behind the array of conversations");
      return std::nullopt;
    }
    if (at_ == text_.size()) throw ConfigError::at(path_, line_, "ends within the array: expected , or ]");
    first_ = false;
    element_line_ = line_;
    const std::size_t begin = at_;
    skip_element();
    return std::string_view(text_).substr(begin, at_ - begin);
  }
  int line() const { return element_line_; }

 private:
  void skip_space() {
    for (; at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n');
         ++at_) {
      line_ += text_[at_] == '\n';
    }
  }
  void skip_element() {
    int depth = 0;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      line_ += c == '\n';
      if (quoted) {
        if (c == '\\') ++at_;
        if (c == '"') quoted = false;
        continue;
      }
      if (depth == 0 && (c == ',' || c == ']')) return;
      if (c == '"') quoted = true;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
    }
    at_ = text_.size();
  }
  std::string path_;
  std::string text_;
  std::size_t at_ = 0;
  int line_ = 1;
  int element_line_ = 1;
  bool first_ = true;
};

enum class Speaker { user, model };

std::optional<Speaker> speaker_of(const std::string& role) {
  for (const char* name : {"human", "user", "system", "tool", "function", "observation"}) {
    if (role == name) return Speaker::user;
  }
  for (const char* name : {"gpt", "chatgpt", "assistant", "model", "bing", "bard"}) {
    if (role == name) return Speaker::model;
  }
  return std::nullopt;
}

// Messages that follow each other from one side are one message. What the model says before the user's first message,
// and a last message without an answer, are not requests.
void add_conversation(const json& conversation, const std::string& name, const TokenCounter& counter,
                      TraceBuilder& builder, const std::string& path, int line) {
  const auto fail = [&](const std::string& message) { throw ConfigError::at(path, line, message); };
  const auto messages = conversation.is_object() ? conversation.find("conversations") : conversation.end();
  if (!conversation.is_object() || messages == conversation.end() || !messages->is_array()) {
    fail("expected an object with a key \"conversations\" that is an array of messages");
  }
  std::int64_t history = 0, fresh = 0, answer = 0;
  const auto flush = [&] {
    if (fresh == 0 || answer == 0) return;
    if (history + fresh + answer > kMaxTokens) fail("has more than 10000000 tokens");
    builder.add_turn(name, Duration(), static_cast<std::int32_t>(history + fresh), static_cast<std::int32_t>(answer));
    history += fresh + answer;
    fresh = answer = 0;
  };
  for (const json& message : *messages) {
    if (!message.is_object() || !message.contains("from") || !message["from"].is_string() ||
        !message.contains("value") || !message["value"].is_string()) {
      fail("expected messages {\"from\": role, \"value\": text}");
    }
    const auto speaker = speaker_of(message["from"].get<std::string>());
    if (!speaker)
      fail("expected \"from\" to be human, gpt or system, got \"" + message["from"].get<std::string>() + "\"");
    const std::int64_t tokens = counter.count(message["value"].get_ref<const std::string&>());
    if (*speaker == Speaker::user) {
      flush();
      fresh += tokens;
    } else if (fresh > 0) {
      answer += tokens;
    }
  }
  flush();
}

}  // namespace

void read_sharegpt(const TraceSpec& spec, Trace& trace) {
  const TokenCounter counter(spec);
  TraceBuilder builder(trace);
  trace.has_arrivals = false;
  ArrayElements elements(spec.path);
  std::int64_t index = 0;
  while (const auto text = elements.next()) {
    const json conversation = json::parse(*text, nullptr, false);
    if (conversation.is_discarded()) {
      throw ConfigError::at(spec.path, elements.line(), "the conversation that begins here is not valid JSON");
    }
    add_conversation(conversation, std::to_string(index++), counter, builder, spec.path, elements.line());
  }
}

}  // namespace alchemist
