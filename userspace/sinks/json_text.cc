#include "userspace/sinks/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

namespace outlier {
namespace {

constexpr size_t kMostOfName = 128;

// Bytes that stand for themselves within a JSON text, whatever comes before or after.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x80; ++c) plain[static_cast<size_t>(c)] = c != '"' && c != '\\';
  return plain;
}();

// How many bytes from `from` on are plain.
size_t PlainRun(std::string_view text, size_t from) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  size_t i = from;
  for (; i + sizeof(uint64_t) <= text.size(); i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof(word));
    // Eight bytes at once: the highest bit is set, or a subtraction borrows into it where a byte is below 0x20, a quote or a backslash. A borrow may
    // also spill into the next byte: then the table below looks again.
    const uint64_t quote = word ^ (kOnes * '"'), backslash = word ^ (kOnes * '\\');
    if (((word | (word - kOnes * 0x20) | (quote - kOnes) | (backslash - kOnes)) & kHigh) != 0) break;
  }
  while (i < text.size() && kPlain[static_cast<unsigned char>(text[i])]) ++i;
  return i - from;
}

// The length of the character of several bytes that `text` begins with; 0 where it is none (RFC 3629: no surrogates, nothing over-long).
size_t LengthOfCharacter(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](size_t i) { return i < text.size() && (at(i) & 0xc0) == 0x80; };
  const unsigned char first = at(0);
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f)) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if ((first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

void Put(char* to, unsigned value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) to[i] = static_cast<char>('0' + value % 10);
}

template <class Number>
void AppendNumber(Number value, std::string* out) {
  char digits[32];
  out->append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

}  // namespace

void JsonText::Escape(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < text.size();) {
    const size_t plain = PlainRun(text, i);
    out_.append(text, i, plain);
    i += plain;
    if (i == text.size()) return;
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      const size_t length = LengthOfCharacter(text.substr(i));
      length == 0 ? out_.append("\xef\xbf\xbd") : out_.append(text, i, length);
      i += std::max<size_t>(length, 1);
      continue;
    }
    ++i;
    switch (c) {
      case '"': out_ += "\\\""; break;
      case '\\': out_ += "\\\\"; break;
      case '\n': out_ += "\\n"; break;
      case '\r': out_ += "\\r"; break;
      case '\t': out_ += "\\t"; break;
      default:
        out_ += "\\u00";
        out_ += kHex[c >> 4];
        out_ += kHex[c & 15];
    }
  }
}

void JsonText::Integer(std::string_view key, int64_t value) {
  Begin(key);
  AppendNumber(value, &out_);
}

void JsonText::Unsigned(std::string_view key, uint64_t value) {
  Integer(key, static_cast<int64_t>(std::min<uint64_t>(value, std::numeric_limits<int64_t>::max())));
}

void JsonText::Real(std::string_view key, double value) {
  if (!std::isfinite(value)) return;
  Begin(key);
  AppendNumber(value, &out_);
}

void JsonText::Single(std::string_view key, double value) {
  if (std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max())) Real(key, value);
}

void JsonText::Flag(std::string_view key, bool value) {
  Begin(key);
  out_ += value ? "true" : "false";
}

void JsonText::Time(std::string_view key, const google::protobuf::Timestamp& time) {
  constexpr int64_t kFirst = -62'135'596'800, kLast = 253'402'300'799;  // of the years 1 and 9999
  const std::chrono::sys_seconds at{std::chrono::seconds(std::clamp(time.seconds(), kFirst, kLast))};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const auto second = static_cast<unsigned>((at - day).count());
  char text[] = "\"0000-00-00T00:00:00.000Z\"";
  Put(text + 1, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  Put(text + 6, static_cast<unsigned>(date.month()), 2);
  Put(text + 9, static_cast<unsigned>(date.day()), 2);
  Put(text + 12, second / 3600, 2);
  Put(text + 15, second / 60 % 60, 2);
  Put(text + 18, second % 60, 2);
  Put(text + 21, static_cast<unsigned>(std::clamp(time.nanos(), 0, 999'999'999)) / 1'000'000, 3);
  Begin(key);
  out_.append(text, sizeof(text) - 1);
}

std::string FieldNames::Of(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, kMostOfName)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    const bool dot = dots_ && c == '.' && !name.empty() && name.back() != '.';
    name += plain || dot ? c : '_';
  }
  if (name.empty()) name = "_";
  if (name.back() == '.') name.back() = '_';
  if (std::find(taken_.begin(), taken_.end(), name) != taken_.end()) return "";
  taken_.push_back(name);
  return name;
}

}  // namespace outlier
