#include "userspace/sinks/webhook_signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cassert>

#include <fmt/format.h>

#include "absl/strings/escaping.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr std::string_view kPrefix = "whsec_";
constexpr size_t kLeastKey = 24;  // bytes, as the specification asks

std::string_view Stripped(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string_view::npos ? "" : text.substr(first, last - first + 1);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SigningKeys(std::string_view path, std::string_view text) {
  std::vector<std::string> keys;
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    std::string_view word = Stripped(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (word.empty()) continue;
    if (word.starts_with(kPrefix)) word.remove_prefix(kPrefix.size());
    std::string key;
    if (!absl::Base64Unescape(absl::string_view(word.data(), word.size()), &key) || key.size() < kLeastKey) {
      return absl::FailedPreconditionError(
          fmt::format("cannot use secret {}: line {} is no signing key; write whsec_ and the base64 of at least {} random bytes",
                      Printable(path), line, kLeastKey));
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

std::string Signatures(const std::vector<std::string>& keys, std::string_view id, std::string_view seconds, std::string_view body) {
  const std::string content = fmt::format("{}.{}.{}", id, seconds, body);
  std::string all;
  for (const std::string& key : keys) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int size = 0;
    const unsigned char* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(content.data()),
                                     content.size(), digest.data(), &size);
    assert(done != nullptr);
    (void)done;
    all += (all.empty() ? "v1," : " v1,") + absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
  }
  return all;
}

std::string Sha256Hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  const int done = EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  assert(done == 1);
  (void)done;
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace outlier
