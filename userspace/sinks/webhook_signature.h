// Standard Webhooks 1.0: a receiver proves by a shared key that a request is ours, whole, and new.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace outlier {

// One key a line, "whsec_" and base64: two or more while one is rotated. FAILED_PRECONDITION names the line that holds none.
// The keys come back as bytes. `path` is for the error only.
absl::StatusOr<std::vector<std::string>> SigningKeys(std::string_view path, std::string_view text);

// "v1,<base64> v1,<base64>": HMAC-SHA256 of "id.seconds.body" by each key. Neither id nor seconds may hold a dot.
std::string Signatures(const std::vector<std::string>& keys, std::string_view id, std::string_view seconds, std::string_view body);

// Hexadecimal SHA-256.
std::string Sha256Hex(std::string_view text);

}  // namespace outlier
