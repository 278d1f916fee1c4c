#include "workloads/sentencepiece.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <queue>

#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581 stands for a space within pieces

// Walks the fields of a protobuf message (wire format of protocol buffers: varint, 64-bit, bytes, 32-bit).
class ProtoFields {
 public:
  explicit ProtoFields(std::string_view message) : rest_(message) {}
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t key = varint();
    number = key >> 3;
    value = 0;
    bytes = {};
    switch (key & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        bytes = take(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5:
        bytes = take(4);
        break;
      default:
        throw ConfigError("not a SentencePiece model");
    }
    return true;
  }
  float as_float() const {
    std::uint32_t bits = 0;
    if (bytes.size() != 4) throw ConfigError("not a SentencePiece model");
    for (std::size_t i = 0; i < 4; ++i) bits |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    return std::bit_cast<float>(bits);
  }
  std::uint64_t number = 0;
  std::uint64_t value = 0;
  std::string_view bytes;

 private:
  std::uint64_t varint() {
    std::uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      result |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return result;
    }
    throw ConfigError("not a SentencePiece model");
  }
  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) throw ConfigError("not a SentencePiece model");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::string_view rest_;
};

}  // namespace

std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 1;
  if (at + length > text.size()) return 1;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) return 1;
  }
  return length;
}

SentencePieceModel SentencePieceModel::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ConfigError::at(path, 0, "cannot be opened: expected a SentencePiece .model");
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return parse(bytes, path);
}

// Field numbers: sentencepiece_model.proto of google/sentencepiece.
SentencePieceModel SentencePieceModel::parse(std::string_view bytes, const std::string& origin) {
  SentencePieceModel model;
  bool rewrites = false, suffix = false;
  std::uint64_t kind = 1;
  try {
    for (ProtoFields f(bytes); f.next();) {
      if (f.number == 1) model.read_piece(f.bytes);
      if (f.number == 2) {  // TrainerSpec
        for (ProtoFields t(f.bytes); t.next();) {
          if (t.number == 3) kind = t.value;
          if (t.number == 35) model.byte_fallback_ = t.value != 0;
          if (t.number == 24) suffix = t.value != 0;
        }
      }
      if (f.number == 3) {  // NormalizerSpec
        for (ProtoFields n(f.bytes); n.next();) {
          if (n.number == 2) rewrites = !n.bytes.empty();
          if (n.number == 3) model.add_dummy_prefix_ = n.value != 0;
          if (n.number == 4) model.remove_extra_whitespaces_ = n.value != 0;
          if (n.number == 5) model.escape_whitespaces_ = n.value != 0;
        }
      }
    }
  } catch (const ConfigError& e) { throw ConfigError::at(origin, 0, e.what()); }
  if (model.scores_.empty()) throw ConfigError::at(origin, 0, "not a SentencePiece model: it has no pieces");
  if (kind != 1 && kind != 2) {
    throw ConfigError::at(origin, 0, "expected a unigram or BPE SentencePiece model, got a word or character model");
  }
  if (rewrites) {
    throw ConfigError::at(origin, 0,
                          "rewrites characters before it splits (precompiled_charsmap), which is not supported: "
                          "state characters_per_token instead");
  }
  if (suffix) {
    throw ConfigError::at(origin, 0,
                          "marks spaces behind words (treat_whitespace_as_suffix), which is not supported: state "
                          "characters_per_token instead");
  }
  model.is_bpe_ = kind == 2;
  return model;
}

void SentencePieceModel::read_piece(std::string_view bytes) {
  std::string piece;
  float score = 0;
  auto type = Type::normal;
  for (ProtoFields f(bytes); f.next();) {
    if (f.number == 1) piece = std::string(f.bytes);
    if (f.number == 2) score = f.as_float();
    if (f.number == 3) type = static_cast<Type>(f.value);
  }
  if (piece.empty() || (type != Type::normal && type != Type::user_defined)) return;
  lowest_score_ = std::min(lowest_score_, score);
  // A user-defined symbol always stays whole: no other split can beat it.
  if (type == Type::user_defined) {
    score = 0.0F;
    longest_user_defined_ = std::max(longest_user_defined_, piece.size());
    user_defined_.insert(piece);
  }
  longest_piece_ = std::max(longest_piece_, piece.size());
  scores_.emplace(std::move(piece), score);
}

const float* SentencePieceModel::score_of(std::string_view piece) const {
  const auto found = scores_.find(piece);
  return found == scores_.end() ? nullptr : &found->second;
}

std::string SentencePieceModel::normalise(std::string_view text) const {
  std::string result;
  const std::string_view space = escape_whitespaces_ ? kSpaceMark : std::string_view(" ");
  bool after_space = remove_extra_whitespaces_;  // drops leading spaces too
  for (char c : text) {
    if (c != ' ') {
      result += c;
      after_space = false;
    } else if (!after_space) {
      result += space;
      after_space = remove_extra_whitespaces_;
    }
  }
  // At the end marks go too that the text itself has.
  while (remove_extra_whitespaces_ && result.ends_with(space)) result.resize(result.size() - space.size());
  if (result.empty()) return result;
  return add_dummy_prefix_ ? std::string(space) + result : result;
}

std::int64_t SentencePieceModel::unknown_cost(std::string_view piece) const {
  return byte_fallback_ ? static_cast<std::int64_t>(piece.size()) : 1;
}

std::int64_t SentencePieceModel::count(std::string_view text) const {
  const std::string prepared = normalise(text);
  if (prepared.empty()) return 0;
  return is_bpe_ ? count_bpe(prepared) : count_unigram(prepared);
}

// The longest user-defined symbol that begins there; 0 if none does.
std::size_t SentencePieceModel::user_defined_length(std::string_view text, std::size_t at) const {
  for (std::size_t length = std::min(longest_user_defined_, text.size() - at); length > 0; --length) {
    if (user_defined_.contains(text.substr(at, length))) return length;
  }
  return 0;
}

// Starts from single characters, and user-defined symbols, which stay as they are, and merges, again and again, the
// neighbours whose union is the best-scored piece (the leftmost of equals). A doubly linked list of symbols with a
// queue of candidate pairs: O(n log n).
std::int64_t SentencePieceModel::count_bpe(std::string_view text) const {
  struct Symbol {
    std::size_t begin, length;
    int previous, next;
    bool stays;
  };
  struct Pair {
    float score;
    int left, right;
    std::size_t length;
    bool operator<(const Pair& o) const { return score != o.score ? score < o.score : left > o.left; }
  };
  std::vector<Symbol> symbols;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t whole = user_defined_length(text, at), length = whole > 0 ? whole : utf8_length(text, at);
    const int index = static_cast<int>(symbols.size());
    symbols.push_back({at, length, index - 1, index + 1, whole > 0});
    at += length;
  }
  symbols.back().next = -1;

  std::priority_queue<Pair> queue;
  const auto propose = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const Symbol &a = symbols[static_cast<std::size_t>(left)], &b = symbols[static_cast<std::size_t>(right)];
    if (a.stays || b.stays) return;
    const std::size_t length = a.length + b.length;
    if (const float* score = score_of(text.substr(a.begin, length))) queue.push({*score, left, right, length});
  };
  for (int i = 0; i + 1 < static_cast<int>(symbols.size()); ++i) propose(i, i + 1);
  while (!queue.empty()) {
    const Pair pair = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<std::size_t>(pair.left)];
    Symbol& right = symbols[static_cast<std::size_t>(pair.right)];
    if (left.length == 0 || right.length == 0 || left.length + right.length != pair.length) continue;  // merged already
    left.length = pair.length;
    right.length = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].previous = pair.left;
    propose(left.previous, pair.left);
    propose(pair.left, left.next);
  }

  std::int64_t tokens = 0;
  bool after_unknown = false;
  for (int i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
    const std::string_view piece = text.substr(symbol.begin, symbol.length);
    const bool unknown = score_of(piece) == nullptr;
    if (!unknown) ++tokens;
    // Without byte pieces, neighbouring unknown characters become one token.
    if (unknown && (byte_fallback_ || !after_unknown)) tokens += unknown_cost(piece);
    after_unknown = unknown;
  }
  return tokens;
}

// The path of pieces with the greatest sum of scores (Viterbi). An unknown character scores 10 below the lowest piece.
std::int64_t SentencePieceModel::count_unigram(std::string_view text) const {
  constexpr float kUnknownPenalty = 10.0F;
  struct Best {
    float score = -std::numeric_limits<float>::infinity();
    std::int64_t tokens = 0;
    bool unknown = false;
  };
  std::vector<Best> best(text.size() + 1);
  best[0].score = 0;
  for (std::size_t at = 0; at < text.size(); at += utf8_length(text, at)) {
    const Best from = best[at];
    const std::size_t character = utf8_length(text, at);
    bool covered = false;
    for (std::size_t length = character; length <= longest_piece_ && at + length <= text.size();) {
      if (const float* score = score_of(text.substr(at, length))) {
        covered |= length == character;
        Best& to = best[at + length];
        if (from.score + *score > to.score) to = {from.score + *score, from.tokens + 1, false};
      }
      if (at + length == text.size()) break;
      length += utf8_length(text, at + length);
    }
    if (covered) continue;
    Best& to = best[at + character];
    const float score = from.score + lowest_score_ - kUnknownPenalty;
    const std::int64_t added = from.unknown && !byte_fallback_ ? 0 : unknown_cost(text.substr(at, character));
    if (score > to.score) to = {score, from.tokens + added, true};
  }
  return best.back().tokens;
}

}  // namespace alchemist
