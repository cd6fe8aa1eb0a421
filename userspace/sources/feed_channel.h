// A gRPC channel to one feed: a Unix socket, or mutual TLS. And what its addresses may look like.
#pragma once
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "outlier/v1/feed.grpc.pb.h"

namespace outlier {

// INVALID_ARGUMENT for an address that is neither unix:///path nor host:port, and for host:port without certificates; certificates that
// cannot be read keep their own status.
absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFeedChannel(const std::string& address, const config::v1::SourceTls& tls);
// What a call there ended with, for a person: of certificates gRPC does not tell the reason, so it is looked for.
std::string WhyNot(const grpc::Status& status, const std::string& address, const config::v1::SourceTls& tls);
absl::Status CheckFeedAddress(const std::string& address, const config::v1::SourceTls& tls);

}  // namespace outlier
