// Secrets out of texts: replaces every occurrence of each by "***". Longest first, so that none is left in part. Pure.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace outlier {

std::string Redact(std::string_view text, std::span<const std::string> secrets);

}  // namespace outlier
