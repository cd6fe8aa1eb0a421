// The Unix socket that the feed listens on: who may take the address, and who may speak there.
#pragma once
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace outlier {

// The path in unix:///path or unix:path. INVALID_ARGUMENT for every other address (TCP needs mutual TLS, which there is not).
absl::StatusOr<std::string> SocketPath(const std::string& address);

// Makes the folder; removes a socket that nobody answers on. UNAVAILABLE when somebody does, INVALID_ARGUMENT when the path
// is something other than a socket.
absl::Status ClearSocketPath(const std::string& path);

// Mode 0660, group `outlierd` where there is one.
absl::Status RestrictSocket(const std::string& path);

}  // namespace outlier
