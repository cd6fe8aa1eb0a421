// One request to a sink's server and what came of it. The sinks write requests and read answers, the transport carries them;
// neither knows the other.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outlier {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  enum class Protocol { kHttp, kGrpc };
  // Signature Version 4 of AWS over the request as sent.
  struct AwsSignature {
    std::string service, region;
    std::string access_key_id, secret_access_key, session_token;
  };
  Protocol protocol = Protocol::kHttp;
  std::string method = "POST";
  std::string url;               // gRPC: [https://]host:port; http:// means without TLS
  std::string grpc_method;       // "/package.Service/Method"
  Headers headers;               // no Content-Length, no Content-Encoding; gRPC: metadata
  std::string body;              // as the sink wrote it: the transport compresses
  bool compress = false;         // gzip, level 1
  std::optional<AwsSignature> aws;
  std::vector<std::string> secrets;  // texts that must not show in any message: keys, secret URLs
};

struct Response {
  // What ended it before an answer was whole.
  enum class Failure { kNone, kConnect, kTls, kTimeout, kReset, kTooLarge, kLocal };
  Failure failure = Failure::kNone;
  std::string failure_text;      // without secrets
  int status = 0;                // HTTP status, or gRPC status code
  Headers headers;               // names in lower case; gRPC: trailing metadata
  std::string body;
  bool grpc = false;

  bool answered() const { return failure == Failure::kNone; }
  std::string_view Header(std::string_view lower_case_name) const;  // "" = none
};

// What became of one item of a batch.
enum class ItemOutcome {
  kDelivered,
  kRetry,    // this item again
  kRefused,  // never: a dead letter
  kExpired,  // never: too old for this sink; counted
};

// What became of a batch.
struct Outcome {
  enum class Kind {
    kItems,    // item by item, in `items`
    kRetry,    // all of it, later
    kSuspend,  // all of it, when a person has mended something; tried slowly
    kEnded,    // all of it, when a person says so: the receiver wants no more, and is not asked again
    kSplit,    // too large: in halves; a single item that is too large is refused
    kRefused,  // the request as a whole is wrong: in halves, until the one item is found
  };
  Kind kind = Kind::kItems;
  std::vector<ItemOutcome> items;       // kItems: one each
  std::vector<std::string> reasons;     // kItems: of what was not delivered, one each or none at all
  std::string reason;                   // of the batch: what was tried, on what, why
  std::optional<std::chrono::nanoseconds> retry_after;
  std::string warning;                  // delivered, but the server says something about it (partial success)
  size_t refused_unnamed = 0;           // of those that `items` has as delivered: refused, the server does not say which; counted, never again

  static Outcome Delivered(size_t items) { return {Kind::kItems, std::vector<ItemOutcome>(items, ItemOutcome::kDelivered), {}, {}, {}, {}, 0}; }
  static Outcome Of(Kind kind, std::string reason) { return {kind, {}, {}, std::move(reason), {}, {}, 0}; }
};

// How most HTTP APIs mean their answers: 2xx delivered; 408, 425, 429, 5xx and a broken connection again; 401, 403, 404, 407 and redirects
// (which are not followed) suspend; 413 too large; other 4xx refused. TLS failures suspend: a certificate mends no sooner by asking.
// Honours Retry-After in seconds or as an HTTP date relative to the answer's own Date.
Outcome JudgeHttp(const Response& response, size_t items);
// How gRPC means its codes for OTLP-like exports: see the OTLP specification, "Failures".
Outcome JudgeGrpc(const Response& response, size_t items);

// "HTTP 503: overloaded" or "timed out": for a person; the body's first line, printable, at most 300 bytes.
std::string Describe(const Response& response);

// Of the headers Retry-After and Date; nothing where absent or senseless. At most a day.
std::optional<std::chrono::nanoseconds> RetryAfter(const Response& response);

}  // namespace outlier
