#include "userspace/transport/redact.h"

#include <algorithm>
#include <vector>

namespace outlier {

std::string Redact(std::string_view text, std::span<const std::string> secrets) {
  std::vector<std::string> longest_first(secrets.begin(), secrets.end());
  std::sort(longest_first.begin(), longest_first.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::string out(text);
  for (const std::string& secret : longest_first) {
    if (secret.empty()) continue;
    for (size_t at = 0; (at = out.find(secret, at)) != std::string::npos; at += 3) out.replace(at, secret.size(), "***");
  }
  return out;
}

}  // namespace outlier
