#include "userspace/config/quantity.h"

#include <limits>
#include <span>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};

// Ascending, so that the last unit that divides a number is the shortest way to write it.
constexpr Unit kDurations[] = {{"ns", 1},
                               {"us", 1'000},
                               {"ms", 1'000'000},
                               {"s", 1'000'000'000},
                               {"m", 60'000'000'000},
                               {"h", 3'600'000'000'000},
                               {"d", 86'400'000'000'000},
                               {"w", 604'800'000'000'000}};
constexpr Unit kSizes[] = {{"B", 1},
                           {"kB", 1'000},
                           {"KiB", 1 << 10},
                           {"MB", 1'000'000},
                           {"MiB", 1 << 20},
                           {"GB", 1'000'000'000},
                           {"GiB", 1 << 30},
                           {"TB", 1'000'000'000'000},
                           {"TiB", int64_t{1} << 40}};
constexpr std::string_view kDurationHint = "a duration such as 500ms, 1s or 7d (units ns, us, ms, s, m, h, d, w)";
constexpr std::string_view kSizeHint = "a size such as 64MiB (units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

absl::Status Wrong(std::string_view text, std::string_view why, std::string_view hint) {
  return absl::InvalidArgumentError(fmt::format("\"{}\" {}; expected {}", Printable(text, 80), why, hint));
}

absl::StatusOr<int64_t> Parse(std::string_view text, std::span<const Unit> units, bool several, std::string_view hint) {
  if (text == "0") return 0;
  if (text.empty()) return Wrong(text, "is empty", hint);
  if (text[0] == '-') return Wrong(text, "is negative", hint);
  constexpr __int128 kMost = std::numeric_limits<int64_t>::max();
  __int128 total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    size_t digits = 0;
    __int128 whole = 0;
    for (; digits < rest.size() && IsDigit(rest[digits]); ++digits) {
      whole = whole * 10 + (rest[digits] - '0');
      if (whole > kMost) return Wrong(text, "is too large", hint);
    }
    if (digits == 0) return Wrong(text, "does not begin with a number", hint);
    rest.remove_prefix(digits);
    __int128 fraction = 0, divisor = 1;
    if (!rest.empty() && rest[0] == '.') {
      size_t end = 1;
      for (; end < rest.size() && IsDigit(rest[end]); ++end) {
        if (divisor < 1'000'000'000'000'000) {  // digits beyond a femto-unit are below one ns of any unit here
          fraction = fraction * 10 + (rest[end] - '0');
          divisor *= 10;
        }
      }
      if (end == 1) return Wrong(text, "has no digits after the point", hint);
      rest.remove_prefix(end);
    }
    if (!rest.empty() && rest[0] == ' ' && !several) rest.remove_prefix(1);  // "64 MiB"
    size_t end = 0;
    while (end < rest.size() && !IsDigit(rest[end])) ++end;
    const std::string_view name = rest.substr(0, end);
    rest.remove_prefix(end);
    const Unit* unit = nullptr;
    for (const Unit& candidate : units) {
      if (candidate.name == name) unit = &candidate;
    }
    if (name.empty()) return Wrong(text, "has no unit", hint);
    if (unit == nullptr) return Wrong(text, fmt::format("has the unknown unit \"{}\"", Printable(name, 20)), hint);
    total += whole * unit->factor + fraction * unit->factor / divisor;
    if (total > kMost) return Wrong(text, "is too large", hint);
    if (!several && !rest.empty()) return Wrong(text, "goes on after its unit", hint);
  }
  return static_cast<int64_t>(total);
}

std::string Format(int64_t value, std::span<const Unit> units, std::string_view zero) {
  if (value <= 0) return std::string(zero);
  const Unit* best = &units[0];
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) best = &unit;
  }
  return fmt::format("{}{}", value / best->factor, best->name);
}

}  // namespace

absl::StatusOr<int64_t> ParseDuration(std::string_view text) { return Parse(text, kDurations, true, kDurationHint); }
absl::StatusOr<int64_t> ParseSize(std::string_view text) { return Parse(text, kSizes, false, kSizeHint); }

std::string FormatDuration(int64_t nanoseconds) {
  // Weeks are read but not written: people compare `7d` with `30d`.
  return Format(nanoseconds, std::span(kDurations).first(std::size(kDurations) - 1), "0s");
}
std::string FormatSize(int64_t bytes) { return Format(bytes, kSizes, "0B"); }

}  // namespace outlier
