// Keys of AWS out of their files, for requests that the transport signs. Not thread-safe.
#pragma once
#include <string_view>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"
#include "userspace/delivery/secret_file.h"

namespace outlier {

class AwsCredentials {
 public:
  // `key`: where they stand in the configuration, for messages. INVALID_ARGUMENT for what is missing.
  static absl::Status Check(std::string_view key, const config::v1::AwsCredentials& credentials);

  explicit AwsCredentials(const config::v1::AwsCredentials& credentials);

  // Has the request signed for `service` in `region`, and lists its secrets. FAILED_PRECONDITION where a file cannot be read.
  absl::Status Sign(std::string_view service, std::string_view region, Request* request);

 private:
  SecretFile access_key_id_, secret_access_key_, session_token_;
};

}  // namespace outlier
