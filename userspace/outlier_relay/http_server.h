// The relay's HTTP: /metrics, /-/healthy, /-/ready. Read only; nothing that changes anything is ever served here. Thread-safe.
#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "userspace/relay/relay.h"

namespace outlier {

class HttpServer {
 public:
  // `listen`: host:port, port 0 = any. INVALID_ARGUMENT for anything else, UNAVAILABLE where it cannot be bound.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen, Relay* relay);
  static absl::Status CheckAddress(const std::string& listen);  // the same, without listening; "" = no server
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

}  // namespace outlier
