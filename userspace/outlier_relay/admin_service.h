// RelayAdmin: what a person asks of the running relay, over gRPC on a Unix socket (0660). Thread-safe.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "outlier/relay/v1/admin.grpc.pb.h"
#include "userspace/relay/relay.h"

namespace outlier {

class AdminServer {
 public:
  // INVALID_ARGUMENT for an address that is no Unix socket; UNAVAILABLE where another program answers there.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(const std::string& address, Relay* relay, std::function<WallTime()> now);
  virtual ~AdminServer() = default;  // stops within a second, removes the socket
};

}  // namespace outlier
