#include "userspace/sinks/entra_token.h"

#include <algorithm>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr std::chrono::seconds kEarly{300};      // asked for again so long before the end, so that none ends on the way
constexpr std::chrono::seconds kShortest{30};    // of a token that lives for less than twice kEarly: half its life, at least this
constexpr int64_t kMostSeconds = 86'400;

int64_t SecondsOf(const Json& value) {
  int64_t seconds = 0;
  if (value.is_number()) return static_cast<int64_t>(std::clamp(value.get<double>(), 0.0, 1e9));
  if (value.is_string() && !absl::SimpleAtoi(value.get<std::string>(), &seconds)) return 0;
  return seconds;
}

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string AzureMonitorScope(std::string_view url) {
  const std::string_view authority = url.substr(std::min(url.size(), url.find("://") + 3));
  const std::string_view host = authority.substr(0, authority.find_first_of("/:"));
  const std::string_view cloud = host.ends_with(".azure.cn") ? "cn" : host.ends_with(".azure.us") ? "us" : "com";
  return fmt::format("https://monitor.azure.{}/.default", cloud);
}

absl::Status EntraToken::CheckConfig(std::string_view key, const config::v1::EntraCredentials& credentials) {
  if (auto status = CheckGiven(fmt::format("{}.client_id", key), credentials.client_id()); !status.ok()) return status;
  if (auto status = CheckGiven(fmt::format("{}.client_secret_file", key), credentials.client_secret_file()); !status.ok()) return status;
  if (credentials.token_url().empty()) return CheckGiven(fmt::format("{}.tenant_id", key), credentials.tenant_id());
  return CheckUrl(fmt::format("{}.token_url", key), credentials.token_url());
}

EntraToken::EntraToken(const config::v1::EntraCredentials& credentials, std::string scope)
    : url_(credentials.token_url()), client_id_(credentials.client_id()), scope_(std::move(scope)), secret_(credentials.client_secret_file()) {
  if (url_.empty()) url_ = fmt::format("https://login.microsoftonline.com/{}/oauth2/v2.0/token", PercentEncode(credentials.tenant_id()));
}

absl::StatusOr<Preparation> EntraToken::Ask() {
  const absl::StatusOr<std::string> secret = secret_.Read();
  if (!secret.ok()) return secret.status();
  asked_with_ = *secret;
  Preparation preparation{.request = {}, .what = "ask for a token of Microsoft Entra ID"};
  preparation.request.url = url_;
  preparation.request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
  preparation.request.body = fmt::format("grant_type=client_credentials&client_id={}&client_secret={}&scope={}", PercentEncode(client_id_),
                                         PercentEncode(*secret), PercentEncode(scope_));
  preparation.request.secrets = {*secret, PercentEncode(*secret)};
  return preparation;
}

std::optional<Preparation> EntraToken::Prepare(WallTime now) {
  const absl::StatusOr<std::string> secret = secret_.Read();
  if (!secret.ok() || (!token_.empty() && token_of_ == *secret && now < good_until_)) return std::nullopt;
  absl::StatusOr<Preparation> asked = Ask();
  if (!asked.ok()) return std::nullopt;
  return *std::move(asked);
}

Outcome EntraToken::Prepared(const Response& response, WallTime now) {
  Outcome outcome = JudgePreparation(response);
  const Json answer = ParseJson(response.body);
  const bool object = !answer.is_discarded() && answer.is_object();
  if (outcome.kind != Outcome::Kind::kItems) {
    // The error's own words: they name the tenant or the client, never the secret.
    const std::string why = object ? TextOf(answer, "error_description") : "";
    if (response.answered() && !why.empty()) {
      const std::string line = why.substr(0, why.find_first_of("\r\n"));
      outcome.reason = fmt::format("no token: HTTP {}: {}: {}", response.status, Printable(TextOf(answer, "error"), 100), Printable(line, 300));
    }
    return outcome;
  }
  const std::string token = object ? TextOf(answer, "access_token") : "";
  const std::chrono::seconds life(object && answer.contains("expires_in") ? std::min(SecondsOf(answer["expires_in"]), kMostSeconds) : 0);
  // A header is made of it: anything but printable ASCII is no token.
  const bool plain = std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
  if (token.empty() || !plain || life.count() <= 0) {
    return Outcome::Of(Outcome::Kind::kSuspend,
                       "no token: the answer holds no access_token with expires_in; is token_url the address of Microsoft Entra ID?");
  }
  token_ = token;
  token_of_ = asked_with_;
  good_until_ = now + (life >= 2 * kEarly ? life - kEarly : std::max(life / 2, kShortest));
  return outcome;
}

absl::StatusOr<std::string> EntraToken::Token(WallTime now) {
  const absl::StatusOr<std::string> secret = secret_.Read();
  if (!secret.ok()) return secret.status();
  if (token_.empty() || token_of_ != *secret || now >= good_until_ + kEarly) {
    return absl::FailedPreconditionError("there is no good token of Microsoft Entra ID; it is asked for before the next batch");
  }
  return token_;
}

}  // namespace outlier
