// Transport: carries one request to one sink's server and brings back the answer, or what ended it. HTTP/1.1 and HTTP/2 by libcurl, unary gRPC by
// gRPC's generic stub. Connections are kept. No redirects are followed, no proxy but the configured one is used, no secret of the request
// shows in any text that leaves here.
//
// One object serves one sink, on one thread at a time; Abort may come from any other.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"

namespace outlier {

class Transport {
 public:
  virtual ~Transport() = default;
  // Blocks until answered, failed, or aborted; at most the configured time-out.
  virtual Response Send(const Request& request) = 0;
  // Ends the Send under way, if any, and all later ones at once. Thread-safe.
  virtual void Abort() = 0;
};

// Compresses the body as Send would, ahead of it. Nothing where there is nothing to be done.
void CompressAhead(Request* request);

// INVALID_ARGUMENT: "connection.headers[0]: ..." for what the schema cannot say. Certificates and keys are read at each new connection.
absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const config::v1::Connection& connection, const std::string& user_agent);

// The largest answer that is read; a longer one fails as kTooLarge.
inline constexpr size_t kMaxAnswerBytes = 64 << 20;

}  // namespace outlier
