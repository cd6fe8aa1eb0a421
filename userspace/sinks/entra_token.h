// An access token of Microsoft Entra (client credentials), asked for when there is none and before it ends. For sinks of Azure.
// Not thread-safe.
#pragma once
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/secret_file.h"
#include "userspace/sinks/sink.h"

namespace outlier {

class EntraToken {
 public:
  // `key`: where the credentials stand in the configuration, for messages. INVALID_ARGUMENT for what is missing.
  static absl::Status Check(std::string_view key, const config::v1::EntraCredentials& credentials);

  // `scope`: what the token is to be good for.
  EntraToken(const config::v1::EntraCredentials& credentials, std::string scope);

  // For Sink::Prepare and Sink::Prepared.
  std::optional<Preparation> Prepare(WallTime now);
  Outcome Prepared(const Response& response, WallTime now);

  // FAILED_PRECONDITION says why there is none.
  absl::StatusOr<std::string> Token() const;

  // What the server said to a request that carried the token. True: it took the token before and does not now, so that a new one may
  // help at once.
  bool Refused(const Response& response);

 private:
  config::v1::EntraCredentials credentials_;
  std::string url_, scope_;
  SecretFile secret_;
  absl::Status why_none_;
  std::string token_;
  WallTime ends_;
  bool proven_ = false;  // an answer to this token was not 401
};

}  // namespace outlier
