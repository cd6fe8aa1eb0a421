#include "userspace/delivery/exchange.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

using Kind = Outcome::Kind;

constexpr size_t kMostBody = 300;
constexpr auto kMostRetryAfter = std::chrono::hours(24);

// Of a broken connection; nothing where there was an answer.
std::optional<Outcome> JudgeFailure(const Response& response) {
  switch (response.failure) {
    case Response::Failure::kNone: return std::nullopt;
    case Response::Failure::kTls:
    case Response::Failure::kLocal: return Outcome::Of(Kind::kSuspend, Describe(response));
    case Response::Failure::kConnect:
    case Response::Failure::kTimeout:
    case Response::Failure::kReset:
    case Response::Failure::kTooLarge: return Outcome::Of(Kind::kRetry, Describe(response));
  }
  return std::nullopt;
}

std::optional<absl::Time> ParseHttpDate(std::string_view text) {
  absl::Time time;
  std::string error;
  for (const char* format : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {  // RFC 9110, 5.6.7
    if (absl::ParseTime(format, absl::string_view(text.data(), text.size()), &time, &error)) return time;
  }
  return std::nullopt;
}

enum GrpcCode { kOk = 0, kCancelled = 1, kDeadlineExceeded = 4, kNotFound = 5, kPermissionDenied = 7, kResourceExhausted = 8, kAborted = 10,
                kOutOfRange = 11, kUnimplemented = 12, kUnavailable = 14, kDataLoss = 15, kUnauthenticated = 16 };

}  // namespace

std::string_view Response::Header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return "";
}

std::optional<std::chrono::nanoseconds> RetryAfter(const Response& response) {
  const std::string_view text = response.Header("retry-after");
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  if (!absl::SimpleAtod(absl::string_view(text.data(), text.size()), &seconds)) {
    const auto until = ParseHttpDate(text), from = ParseHttpDate(response.Header("date"));
    if (!until || !from) return std::nullopt;
    seconds = absl::ToDoubleSeconds(*until - *from);
  }
  if (!(seconds >= 0) || !std::isfinite(seconds)) return std::nullopt;
  const auto most = std::chrono::duration<double>(kMostRetryAfter).count();
  return std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, most) * 1e9));
}

std::string Describe(const Response& response) {
  if (!response.answered()) return response.failure_text;
  const std::string_view body(response.body);
  std::string line = Printable(body.substr(0, std::min(body.find('\n'), kMostBody)), kMostBody);
  if (response.grpc) line = Printable(response.failure_text.empty() ? line : response.failure_text, kMostBody);
  return fmt::format("{} {}{}{}", response.grpc ? "gRPC status" : "HTTP", response.status, line.empty() ? "" : ": ", line);
}

Outcome JudgeHttp(const Response& response, size_t items) {
  if (auto failure = JudgeFailure(response)) return *failure;
  const int status = response.status;
  Kind kind = Kind::kRefused;
  if (status >= 200 && status < 300) return Outcome::Delivered(items);
  if (status == 408 || status == 425 || status == 429 || status >= 500) kind = Kind::kRetry;
  if (status < 200 || (status >= 300 && status < 400) || status == 401 || status == 403 || status == 404 || status == 407) kind = Kind::kSuspend;
  if (status == 413) kind = Kind::kSplit;
  Outcome outcome = Outcome::Of(kind, Describe(response));
  if (status >= 300 && status < 400) outcome.reason += "; redirects are not followed: give the address that it names";
  outcome.retry_after = RetryAfter(response);
  return outcome;
}

Outcome JudgeGrpc(const Response& response, size_t items) {
  if (auto failure = JudgeFailure(response)) return *failure;
  Kind kind = Kind::kRefused;
  switch (response.status) {
    case kOk: return Outcome::Delivered(items);
    case kCancelled:
    case kDeadlineExceeded:
    case kAborted:
    case kOutOfRange:
    case kUnavailable:
    case kDataLoss: kind = Kind::kRetry; break;
    // Of a server that says when; else the request is too large for it.
    case kResourceExhausted: kind = RetryAfter(response) ? Kind::kRetry : Kind::kSplit; break;
    case kNotFound:
    case kPermissionDenied:
    case kUnimplemented:
    case kUnauthenticated: kind = Kind::kSuspend; break;
    default: break;
  }
  Outcome outcome = Outcome::Of(kind, Describe(response));
  outcome.retry_after = RetryAfter(response);  // the transport puts RetryInfo there
  return outcome;
}

}  // namespace outlier
