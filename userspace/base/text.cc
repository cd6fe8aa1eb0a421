#include "userspace/base/text.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

namespace outlier {
namespace {

// Length of the valid UTF-8 sequence at `s[i]`, 0 if there is none (RFC 3629: no overlong forms, no surrogates).
size_t Utf8Length(std::string_view s, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(s[k]); };
  const uint8_t first = byte(i);
  size_t length = 0;
  uint32_t code = 0;
  if (first < 0x80) return 1;
  if ((first & 0xE0) == 0xC0) {
    length = 2;
    code = first & 0x1F;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3;
    code = first & 0x0F;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4;
    code = first & 0x07;
  } else {
    return 0;
  }
  if (i + length > s.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(i + k) & 0x3F);
  }
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
  // C1 controls, line and paragraph separators, and the bidirectional overrides that make text lie about itself.
  if ((code >= 0x80 && code <= 0x9F) || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069)) return 0;
  return length;
}

// Three digits that count, as "%.3g" has them.
std::string Significant(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::general, 3).ptr};
}

// How many bytes from `from` on are printable ASCII.
size_t PlainRun(std::string_view text, size_t from) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  size_t i = from;
  for (; i + sizeof(uint64_t) <= text.size(); i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof word);
    // Eight bytes at once: the highest bit is set, or a subtraction borrows into it where a byte is below 0x20 or is 0x7f. A borrow may also spill into
    // the next byte: then the loop below looks again.
    if (((word | (word - kOnes * 0x20) | ((word ^ (kOnes * 0x7f)) - kOnes)) & kHigh) != 0) break;
  }
  const auto plain = [](unsigned char c) { return c >= 0x20 && c < 0x7f; };
  while (i < text.size() && plain(static_cast<unsigned char>(text[i]))) ++i;
  return i - from;
}

}  // namespace

std::string Printable(std::string_view bytes, size_t max_bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    // What needs no second look goes at once: nearly all of nearly every text.
    if (const size_t plain = PlainRun(bytes, i); plain > 0) {
      if (out.size() + plain > max_bytes) return out.append(bytes, i, max_bytes - out.size()).append("…");
      out.append(bytes, i, plain);
      i += plain;
      continue;
    }
    const size_t length = Utf8Length(bytes, i);
    const uint8_t first = static_cast<uint8_t>(bytes[i]);
    std::string escaped;
    std::string_view piece = bytes.substr(i, std::max<size_t>(length, 1));
    i += piece.size();
    if (length == 0 || first < 0x20 || first == 0x7F) piece = escaped = fmt::format("\\x{:02x}", first);
    if (out.size() + piece.size() > max_bytes) return out + "…";
    out += piece;
  }
  return out;
}

bool GlobMatch(std::string_view glob, std::string_view text) {
  if (glob.empty() || glob == "*") return true;
  if (glob.find_first_of("*?[\\") == std::string_view::npos) return glob == text;
  return fnmatch(std::string(glob).c_str(), std::string(text).c_str(), 0) == 0;
}

std::string HumanValue(double value, std::string_view unit) {
  const std::string_view base = unit.substr(0, unit.find('/'));
  const std::string suffix = unit.size() > base.size() && base != "1" ? std::string(unit.substr(base.size())) : "";
  const double magnitude = std::abs(value);
  if (unit == "s/s") return fmt::format("{:.3g} s/s", value);
  if (base == "By") {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int k = 0;
    double scaled = magnitude;
    while (scaled >= 1024 && k < 5) {
      scaled /= 1024;
      ++k;
    }
    return fmt::format("{:.{}f} {}{}", std::copysign(scaled, value), k == 0 || scaled >= 100 ? 0 : 1, kUnits[k], suffix);
  }
  if (base == "s") {
    if (magnitude != 0 && magnitude < 1e-3) return Significant(value * 1e6) + " µs" + suffix;
    if (magnitude != 0 && magnitude < 1) return Significant(value * 1e3) + " ms" + suffix;
    return Significant(value) + " s" + suffix;
  }
  return (magnitude >= 1000 ? fmt::format("{:.0f}", value) : Significant(value)) + suffix;
}

std::string HumanDuration(double seconds) {
  if (!(seconds >= 0) || seconds > 3.2e9) return "over 100 years";
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  const int64_t minutes = static_cast<int64_t>(seconds / 60);
  if (minutes < 48 * 60) return fmt::format("{} h {} min", minutes / 60, minutes % 60);
  return fmt::format("{} d {} h", minutes / 1440, minutes / 60 % 24);
}

}  // namespace outlier
