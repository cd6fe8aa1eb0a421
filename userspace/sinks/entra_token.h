// A token of Microsoft Entra ID by client credentials (RFC 6749, 4.4): asked for before it is needed, kept until shortly before it ends, and
// asked for again when the secret's file has changed. For sinks' Prepare and Prepared. Not thread-safe.
//
// UNVERIFIED against the real service; the form is that of its documentation.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/secret_file.h"
#include "userspace/sinks/sink.h"

namespace outlier {

class EntraToken {
 public:
  // INVALID_ARGUMENT names what is missing; `key` is where it would stand, such as "azure_logs.credentials".
  static absl::Status CheckConfig(std::string_view key, const config::v1::EntraCredentials& credentials);
  // `scope`: what the token is for, such as https://monitor.azure.com/.default.
  EntraToken(const config::v1::EntraCredentials& credentials, std::string scope);

  // Nothing while there is a good token, or where the secret cannot be read: Token() says so then.
  std::optional<Preparation> Prepare(WallTime now);
  Outcome Prepared(const Response& response, WallTime now);
  // The request for a token, whether one is there or not. Fails where the secret cannot be read.
  absl::StatusOr<Preparation> Ask();
  // The good token. FAILED_PRECONDITION: the secret cannot be read, or none was given yet.
  absl::StatusOr<std::string> Token(WallTime now);
  // It was refused: the next Prepare asks for another.
  void Forget() { token_.clear(); }

 private:
  std::string url_, client_id_, scope_;
  SecretFile secret_;
  std::string asked_with_;   // the secret of the latest request
  std::string token_;
  std::string token_of_;     // the secret that it was given for
  WallTime good_until_{};
};

// The audience of Azure Monitor in the cloud that `url` is of.
std::string AzureMonitorScope(std::string_view url);

}  // namespace outlier
