// RelayConnection: one channel to outlier-relay's admin socket, and gRPC's errors said in a person's words.
#pragma once
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "outlier/relay/v1/admin.grpc.pb.h"

namespace outlier::ctl {

// The system's relay where this user can reach it, else the user's own.
std::string DefaultRelayAddress();

class RelayConnection {
 public:
  // INVALID_ARGUMENT for anything but a unix: address: it is served nowhere else.
  static absl::StatusOr<RelayConnection> Open(const std::string& address);

  template <class Request, class Response>
  using Method = grpc::Status (relay::v1::RelayAdmin::Stub::*)(grpc::ClientContext*, const Request&, Response*);
  template <class Request, class Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request, const std::string& tried) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    Response response;
    if (absl::Status s = Describe((stub_.get()->*method)(&context, request, &response), tried); !s.ok()) return s;
    return response;
  }

 private:
  absl::Status Describe(const grpc::Status& status, const std::string& tried) const;
  std::string address_;
  std::unique_ptr<relay::v1::RelayAdmin::Stub> stub_;
};

}  // namespace outlier::ctl
