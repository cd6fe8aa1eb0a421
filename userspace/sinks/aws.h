// What requests to Amazon Web Services share: keys out of files, and errors by their code. The transport signs.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"
#include "userspace/delivery/secret_file.h"

namespace outlier {

class AwsKeys {
 public:
  // INVALID_ARGUMENT names what is missing; `key` is where it would stand, such as "cloudwatch.credentials".
  static absl::Status CheckConfig(std::string_view key, const config::v1::AwsCredentials& credentials);
  explicit AwsKeys(const config::v1::AwsCredentials& credentials);
  // Asks the transport to sign it, with the keys as they are in the files now.
  absl::Status Sign(const std::string& service, const std::string& region, Request* request);

 private:
  SecretFile id_, secret_, session_token_;
};

// A part of host names: "eu-central-1". INVALID_ARGUMENT for what is none.
absl::Status CheckAwsRegion(std::string_view key, std::string_view region);
// https://monitoring.eu-central-1.amazonaws.com
std::string AwsUrl(std::string_view service, std::string_view region);

// "ResourceNotFoundException", of the JSON protocols or the older XML; "" where there is none.
std::string AwsErrorCode(const Response& response);
// By code rather than by status: throttling comes as 400, and so does a wrong key.
Outcome JudgeAws(const Response& response, size_t items);

}  // namespace outlier
