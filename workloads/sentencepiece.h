// Counts the tokens of a text with a SentencePiece model file (the .model that Llama 2, Mistral and others publish).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace alchemist {

// Reads the parts of the model's protobuf that counting needs: the pieces with score and type, the kind of model and
// the whitespace rules. Both kinds are supported: BPE (merge the best-scored neighbours) and unigram (best-scored
// path). A model that rewrites characters first (precompiled_charsmap, such as NFKC) is refused: this reader does not
// do that, and counts would be silently off.
class SentencePieceModel {
 public:
  static SentencePieceModel load(const std::string& path);  // ConfigError if it is not such a file
  // The same from the bytes of a file; `origin` stands in for its name in messages.
  static SentencePieceModel parse(std::string_view bytes, const std::string& origin);

  // Tokens of the text, without begin and end markers. Invalid UTF-8 counts byte by byte.
  std::int64_t count(std::string_view text) const;

 private:
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  using Scores = std::unordered_map<std::string, float, Hash, std::equal_to<>>;

  void read_piece(std::string_view bytes);
  std::string normalise(std::string_view text) const;
  std::int64_t count_bpe(std::string_view text) const;
  std::int64_t count_unigram(std::string_view text) const;
  std::int64_t unknown_cost(std::string_view piece) const;  // tokens that one unknown character becomes
  const float* score_of(std::string_view piece) const;
  std::size_t user_defined_length(std::string_view text, std::size_t at) const;

  Scores scores_;
  std::unordered_set<std::string, Hash, std::equal_to<>> user_defined_;
  std::size_t longest_user_defined_ = 0;  // bytes
  std::size_t longest_piece_ = 0;         // bytes
  float lowest_score_ = 0;
  bool is_bpe_ = false;
  bool byte_fallback_ = false;
  bool add_dummy_prefix_ = true;
  bool remove_extra_whitespaces_ = true;
  bool escape_whitespaces_ = true;
};

// Bytes of the UTF-8 character that begins at text[at], at least 1.
std::size_t utf8_length(std::string_view text, std::size_t at);

}  // namespace alchemist
