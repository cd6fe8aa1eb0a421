// Unary gRPC calls of bytes, by the generic stub: a sink brings method and message. See transport.h for the rules.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"

#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"

namespace outlier {

class GrpcTransport {
 public:
  GrpcTransport(config::v1::Connection connection, std::string user_agent);
  Response Send(const Request& request);
  void Abort();

 private:
  absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelTo(const std::string& url);
  const config::v1::Connection connection_;
  const std::string user_agent_;
  std::map<std::string, std::pair<std::string, std::shared_ptr<grpc::Channel>>> channels_;  // by url; with the certificates they were made with
  std::mutex mutex_;
  grpc::ClientContext* under_way_ = nullptr;  // guarded by mutex_
  bool aborted_ = false;                      // guarded by mutex_
};

}  // namespace outlier
