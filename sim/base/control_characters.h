// What a terminal would obey in a text that somebody else wrote.
#pragma once

#include <cstddef>
#include <string_view>

namespace alchemist {

// How many bytes the control character takes that begins at `at` of a text in UTF-8 (C0, DEL and C1, of which U+009B
// alone begins a command); 0 if none does.
inline std::size_t control_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0x20; };
  if (byte(at) < 0x20 || byte(at) == 0x7f) return 1;
  return byte(at) == 0xc2 && byte(at + 1) >= 0x80 && byte(at + 1) < 0xa0 ? 2 : 0;
}

}  // namespace alchemist
