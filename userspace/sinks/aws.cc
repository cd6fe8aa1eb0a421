#include "userspace/sinks/aws.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using Kind = Outcome::Kind;

bool HasAny(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

Kind KindOf(std::string_view code, std::string_view message, Kind otherwise) {
  if (HasAny(code, {"Throttl", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure", "InternalService",
                    "OperationAborted", "RequestTimeout"})) {
    return Kind::kRetry;
  }
  if (HasAny(code, {"AccessDenied", "UnrecognizedClient", "InvalidSignature", "SignatureDoesNotMatch", "IncompleteSignature",
                    "MissingAuthentication", "ExpiredToken", "InvalidClientTokenId", "OptInRequired", "RequestTimeTooSkewed", "RequestExpired",
                    "NotAuthorized", "KMSAccess", "UnknownOperation", "LimitExceeded", "ResourceNotFound"})) {
    return Kind::kSuspend;
  }
  if (HasAny(code, {"RequestEntityTooLarge", "RequestTooLarge"}) || HasAny(message, {"too large", "Too large"})) return Kind::kSplit;
  return otherwise;
}

std::string MessageIn(const std::string& body) {
  const Json answer = ParseJson(body);
  for (const char* key : {"message", "Message"}) {
    if (answer.is_object() && answer.contains(key) && answer[key].is_string()) return answer[key].get<std::string>();
  }
  const size_t start = body.find("<Message>");
  return start == std::string::npos ? "" : body.substr(start + 9, body.find('<', start + 9) - start - 9);
}

}  // namespace

absl::Status AwsKeys::CheckConfig(std::string_view key, const config::v1::AwsCredentials& credentials) {
  if (auto status = CheckGiven(fmt::format("{}.access_key_id_file", key), credentials.access_key_id_file()); !status.ok()) return status;
  return CheckGiven(fmt::format("{}.secret_access_key_file", key), credentials.secret_access_key_file());
}

AwsKeys::AwsKeys(const config::v1::AwsCredentials& credentials)
    : id_(credentials.access_key_id_file()), secret_(credentials.secret_access_key_file()), session_token_(credentials.session_token_file()) {}

absl::Status AwsKeys::Sign(const std::string& service, const std::string& region, Request* request) {
  Request::AwsSignature signature{.service = service, .region = region, .access_key_id = {}, .secret_access_key = {}, .session_token = {}};
  const std::array<std::pair<SecretFile*, std::string*>, 3> parts = {
      {{&id_, &signature.access_key_id}, {&secret_, &signature.secret_access_key}, {&session_token_, &signature.session_token}}};
  for (const auto& [file, part] : parts) {
    if (!file->given()) continue;
    absl::StatusOr<std::string> text = file->Read();
    if (!text.ok()) return text.status();
    *part = *std::move(text);
    request->secrets.push_back(*part);
  }
  request->aws = std::move(signature);
  return absl::OkStatus();
}

absl::Status CheckAwsRegion(std::string_view key, std::string_view region) {
  if (auto status = CheckGiven(key, region); !status.ok()) return status;
  const bool plain = std::all_of(region.begin(), region.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  return plain ? absl::OkStatus() : absl::InvalidArgumentError(fmt::format("{}: expected a region such as eu-central-1", key));
}

std::string AwsUrl(std::string_view service, std::string_view region) {
  return fmt::format("https://{}.{}.amazonaws.com{}/", service, region, region.starts_with("cn-") ? ".cn" : "");
}

std::string AwsErrorCode(const Response& response) {
  std::string code(response.Header("x-amzn-errortype"));
  const Json answer = ParseJson(response.body);
  if (code.empty() && !answer.is_discarded() && answer.is_object()) {
    for (const char* key : {"__type", "code", "Code"}) {
      if (code.empty() && answer.contains(key) && answer[key].is_string()) code = answer[key].get<std::string>();
    }
  }
  if (const size_t start = response.body.find("<Code>"); code.empty() && start != std::string::npos) {
    code = response.body.substr(start + 6, response.body.find('<', start + 6) - start - 6);
  }
  // "com.amazonaws.logs#ResourceNotFoundException", "AccessDenied:http://..."
  code = code.substr(0, code.find(':'));
  if (const size_t hash = code.rfind('#'); hash != std::string::npos) code = code.substr(hash + 1);
  return Printable(code, 100);
}

Outcome JudgeAws(const Response& response, size_t items) {
  Outcome outcome = JudgeHttp(response, items);
  if (!response.answered() || response.status < 400 || response.status >= 500) return outcome;
  const std::string code = AwsErrorCode(response);
  outcome.kind = KindOf(code, response.body, outcome.kind);
  // The first line of XML tells a person nothing.
  if (!code.empty()) outcome.reason = fmt::format("HTTP {}: {}: {}", response.status, code, Printable(MessageIn(response.body), 300));
  return outcome;
}

}  // namespace outlier
