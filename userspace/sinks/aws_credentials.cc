#include "userspace/sinks/aws_credentials.h"

#include <string>

#include "userspace/sinks/wire.h"

namespace outlier {

absl::Status AwsCredentials::Check(std::string_view key, const config::v1::AwsCredentials& credentials) {
  const std::string at(key);
  if (absl::Status status = CheckGiven(at + ".access_key_id_file", credentials.access_key_id_file()); !status.ok()) return status;
  return CheckGiven(at + ".secret_access_key_file", credentials.secret_access_key_file());
}

AwsCredentials::AwsCredentials(const config::v1::AwsCredentials& credentials)
    : access_key_id_(credentials.access_key_id_file()),
      secret_access_key_(credentials.secret_access_key_file()),
      session_token_(credentials.session_token_file()) {}

absl::Status AwsCredentials::Sign(std::string_view service, std::string_view region, Request* request) {
  Request::AwsSignature signature;
  signature.service = service;
  signature.region = region;
  for (auto [file, into] : {std::pair{&access_key_id_, &signature.access_key_id}, std::pair{&secret_access_key_, &signature.secret_access_key},
                            std::pair{&session_token_, &signature.session_token}}) {
    if (!file->given()) continue;
    absl::StatusOr<std::string> text = file->Read();
    if (!text.ok()) return text.status();
    *into = *std::move(text);
    request->secrets.push_back(*into);
  }
  request->aws = std::move(signature);
  return absl::OkStatus();
}

}  // namespace outlier
