// Durations and sizes as people write them: `500ms`, `1h30m`, `7d`; `64MiB`, `10MB`. Pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace outlier {

// Nanoseconds of a text of number-unit pairs, units ns us ms s m h d w; "0" needs no unit. Fractions are cut at 1 ns.
// INVALID_ARGUMENT says what is wrong and which units there are; negative values and more than 2^63-1 ns are refused.
absl::StatusOr<int64_t> ParseDuration(std::string_view text);

// Bytes of one number with a unit of B KiB MiB GiB TiB kB MB GB TB; "0" needs none. Errors as above.
absl::StatusOr<int64_t> ParseSize(std::string_view text);

// The shortest single-unit text that parses to exactly the same number (not negative): "90s", "7d", "128MiB".
std::string FormatDuration(int64_t nanoseconds);
std::string FormatSize(int64_t bytes);

}  // namespace outlier
