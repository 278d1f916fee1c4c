#include "workloads/sentencepiece.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

#include "sim/base/error.h"

namespace alchemist {
namespace {

// A model file by hand: the wire format of the few fields that counting reads.
std::string field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}
std::string varint_field(int number, int value) {
  std::string key;
  const int tag = number << 3;
  if (tag < 128) {
    key += static_cast<char>(tag);
  } else {
    key += static_cast<char>((tag & 127) | 128);
    key += static_cast<char>(tag >> 7);
  }
  return key + static_cast<char>(value);
}
std::string piece(const std::string& text, float score, int type = 1) {
  const auto bits = std::bit_cast<std::uint32_t>(score);
  std::string bytes(1, static_cast<char>(2 << 3 | 5));
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(bits >> (8 * i));
  return field(1, field(1, text) + bytes + varint_field(3, type));
}
std::string trainer(int kind, bool byte_fallback) {
  return field(2, varint_field(3, kind) + varint_field(35, byte_fallback ? 1 : 0));
}
const std::string kPlain = field(3, varint_field(4, 0));  // keeps extra spaces
const std::string kSpace = "\xe2\x96\x81";

TEST(SentencePiece, BpeMergesTheBestScoredNeighboursFirst) {
  const std::string bytes = piece("<unk>", 0, 2) + piece("bc", -1) + piece("ab", -2) + piece("abc", -3) +
                            piece(kSpace, -4) + piece("a", -5) + piece("b", -6) + piece("c", -7) + trainer(2, true) +
                            kPlain;
  const auto model = SentencePieceModel::parse(bytes, "m");
  EXPECT_EQ(model.count("abc"), 2 + 0);           // space mark | then b+c (best), then a+bc = abc
  EXPECT_EQ(model.count("ab"), 2);                // space mark, ab
  EXPECT_EQ(model.count("a b"), 4);               // space mark, a, space mark, b
  EXPECT_EQ(model.count("\xc3\xa4"), 3);          // space mark and the two bytes of the unknown letter
  EXPECT_EQ(model.count("\xc3\xa4\xc3\xb6"), 5);  // bytes of every unknown letter, though it follows another
  EXPECT_EQ(model.count(""), 0);
}

// "\u00e4b" and "bc" are as good as each other: the one on the left comes first. On the right the unknown letter would
// have been left, with its two bytes.
TEST(SentencePiece, OfEquallyGoodNeighboursThoseOnTheLeftAreMerged) {
  const std::string bytes = piece("<unk>", 0, 2) + piece("bc", -1) +
                            piece(
                                "\xc3\xa4"
                                "b",
                                -1) +
                            piece(kSpace, -4) + piece("b", -6) + piece("c", -7) + trainer(2, true) + kPlain;
  EXPECT_EQ(SentencePieceModel::parse(bytes, "m")
                .count("\xc3\xa4"
                       "bc"),
            3);
}

// Those that the user defined are whole from the beginning, and nothing is merged with them.
TEST(SentencePiece, UserDefinedSymbolsStayAsTheyAre) {
  const std::string bytes = piece("<unk>", 0, 2) + piece("<im>", 0, 4) + piece("<im>a", -1) + piece("<", -2) +
                            piece("<i", -2) + piece("a", -5) + piece(kSpace, -4) + trainer(2, true) + kPlain;
  const auto model = SentencePieceModel::parse(bytes, "m");
  EXPECT_EQ(model.count("<im>a"), 3);  // space mark, symbol, a
  EXPECT_EQ(model.count("a<im><im>"), 4);
  EXPECT_EQ(model.count("<i"), 2);  // space mark, <i
}

TEST(SentencePiece, UnigramTakesTheBestPath) {
  const std::string bytes = piece(kSpace + "ab", -10) + piece(kSpace + "a", -2) + piece("b", -3) + piece("bb", -3.5F) +
                            piece(kSpace, -4) + piece("a", -4) + trainer(1, false) + kPlain;
  const auto model = SentencePieceModel::parse(bytes, "m");
  EXPECT_EQ(model.count("ab"), 2);    // _a b: -5 beats _ab: -10
  EXPECT_EQ(model.count("abb"), 2);   // _a bb: -5.5
  EXPECT_EQ(model.count("axyb"), 3);  // _a, one token for both unknown letters, b
}

// Of equally good paths the one stays whose last piece is the longer one, as in google/sentencepiece.
TEST(SentencePiece, OfEquallyGoodPathsTheFirstStays) {
  const std::string bytes =
      piece("a", -1) + piece("y", -1) + piece("ay", -2) + piece(kSpace, -1) + trainer(1, false) + kPlain;
  EXPECT_EQ(SentencePieceModel::parse(bytes, "m").count("ay"), 2);
}

// The counts of google/sentencepiece 0.2.
TEST(SentencePiece, SpacesAtTheEndGoEvenIfTheTextHasTheirMark) {
  const std::string bytes = piece("<unk>", 0, 2) + piece(kSpace, -4) + piece("a", -5) + trainer(2, true);
  const auto model = SentencePieceModel::parse(bytes, "m");
  EXPECT_EQ(model.count(" a " + kSpace + " "), 2);
  EXPECT_EQ(model.count("a" + kSpace + "a"), 4);
  EXPECT_EQ(model.count(kSpace), 0);
}

TEST(SentencePiece, WhatItDoesNotUnderstandIsAnError) {
  EXPECT_THROW(SentencePieceModel::parse("this is text", "m"), ConfigError);
  EXPECT_THROW(SentencePieceModel::parse("", "m"), ConfigError);
  const std::string rewriting = piece("a", -1) + trainer(1, false) + field(3, field(2, "map"));
  EXPECT_THROW(SentencePieceModel::parse(rewriting, "m"), ConfigError);
  const std::string behind = piece("a", -1) + field(2, varint_field(3, 2) + varint_field(24, 1));
  EXPECT_THROW(SentencePieceModel::parse(behind, "m"), ConfigError);
  EXPECT_THROW(SentencePieceModel::load("/nowhere/x.model"), ConfigError);
}

}  // namespace
}  // namespace alchemist
