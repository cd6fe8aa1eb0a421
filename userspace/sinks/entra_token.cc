#include "userspace/sinks/entra_token.h"

#include <algorithm>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "userspace/base/status.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr auto kEarly = std::chrono::minutes(5);  // clocks differ, and a batch takes a while
constexpr double kShortest = 60, kLongest = 86'400;

}  // namespace

absl::Status EntraToken::Check(std::string_view key, const config::v1::EntraCredentials& credentials) {
  const std::string at(key);
  if (credentials.token_url().empty()) {
    if (absl::Status status = CheckGiven(at + ".tenant_id", credentials.tenant_id()); !status.ok()) return status;
  } else if (absl::Status status = CheckUrl(at + ".token_url", credentials.token_url()); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckGiven(at + ".client_id", credentials.client_id()); !status.ok()) return status;
  return CheckGiven(at + ".client_secret_file", credentials.client_secret_file());
}

EntraToken::EntraToken(const config::v1::EntraCredentials& credentials, std::string scope)
    : credentials_(credentials),
      url_(!credentials.token_url().empty()
               ? credentials.token_url()
               : fmt::format("https://login.microsoftonline.com/{}/oauth2/v2.0/token", PercentEncode(credentials.tenant_id()))),
      scope_(std::move(scope)),
      secret_(credentials.client_secret_file()),
      why_none_(absl::FailedPreconditionError("no access token was asked for yet")) {}

std::optional<Preparation> EntraToken::Prepare(WallTime now) {
  if (!token_.empty() && now + kEarly < ends_) return std::nullopt;
  const absl::StatusOr<std::string> secret = secret_.Read();
  if (!secret.ok()) {
    token_.clear();
    why_none_ = secret.status();
    return std::nullopt;
  }
  Preparation preparation;
  preparation.what = fmt::format("ask {} for an access token", url_);
  Request& request = preparation.request;
  request.url = url_;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  request.body = fmt::format("grant_type=client_credentials&client_id={}&client_secret={}&scope={}", PercentEncode(credentials_.client_id()),
                             PercentEncode(*secret), PercentEncode(scope_));
  request.secrets = {*secret, PercentEncode(*secret)};
  return preparation;
}

Outcome EntraToken::Prepared(const Response& response, WallTime now) {
  Outcome outcome = JudgeHttp(response, 0);
  token_.clear();
  if (outcome.kind != Outcome::Kind::kItems) {
    // Whatever is wrong with the request lies in the configuration: client, secret, tenant.
    if (outcome.kind == Outcome::Kind::kRefused || outcome.kind == Outcome::Kind::kSplit) outcome.kind = Outcome::Kind::kSuspend;
    outcome.reason = fmt::format("no access token from {}: {}", url_, outcome.reason);
    why_none_ = absl::FailedPreconditionError(outcome.reason);
    return outcome;
  }
  const Json body = ParseJson(response.body);
  double seconds = 0;
  if (body.is_object() && body.contains("access_token") && body["access_token"].is_string()) {
    token_ = body["access_token"].get<std::string>();
    const Json lifetime = body.value("expires_in", Json());
    if (lifetime.is_number()) seconds = lifetime.get<double>();
    if (lifetime.is_string() && !absl::SimpleAtod(lifetime.get<std::string>(), &seconds)) seconds = 0;
  }
  const bool clean = std::all_of(token_.begin(), token_.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (token_.empty() || !clean) {
    token_.clear();
    outcome = Outcome::Of(Outcome::Kind::kSuspend, fmt::format("no access token from {}: the answer holds none; is it the right address?", url_));
    why_none_ = absl::FailedPreconditionError(outcome.reason);
    return outcome;
  }
  // One that ends within kEarly is used all the same until it is a minute old, else it would be asked for before every batch.
  ends_ = now + std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::duration<double>(std::clamp(seconds, kShortest + std::chrono::duration<double>(kEarly).count(), kLongest)));
  proven_ = false;
  return outcome;
}

absl::StatusOr<std::string> EntraToken::Token() const {
  if (token_.empty()) return why_none_;
  return token_;
}

bool EntraToken::Refused(const Response& response) {
  if (!response.answered()) return false;
  if (response.status != 401) {
    proven_ = true;
    return false;
  }
  token_.clear();
  why_none_ = absl::FailedPreconditionError("the access token was refused; a new one is asked for");
  return proven_;
}

}  // namespace outlier
