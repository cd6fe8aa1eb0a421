// FeedConnection: one channel to the daemon, and gRPC's errors said in a person's words.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "outlier/v1/feed.grpc.pb.h"

namespace outlier::ctl {

// $OUTLIER_ADDRESS, else the system's socket where this user can reach it, else the user's own.
std::string DefaultAddress();

// A unary call that takes longer has failed. Acknowledgements wait for a tick (at most a minute).
inline constexpr std::chrono::seconds kUnaryDeadline{10};
inline constexpr std::chrono::seconds kCommandDeadline{90};

class FeedConnection {
 public:
  // INVALID_ARGUMENT for anything but a unix: address: the feed speaks without encryption on Unix sockets only.
  static absl::StatusOr<FeedConnection> Open(const std::string& address);

  v1::OutlierFeed::Stub& stub() { return *stub_; }
  const std::string& address() const { return address_; }

  // Ok, or "cannot <tried> at <address>: <why>; <what to do>".
  absl::Status Describe(const grpc::Status& status, const std::string& tried) const;

  template <class Request, class Response>
  using Method = grpc::Status (v1::OutlierFeed::Stub::*)(grpc::ClientContext*, const Request&, Response*);

  template <class Request, class Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request, const std::string& tried,
                                std::chrono::seconds deadline = kUnaryDeadline) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    Response response;
    if (absl::Status s = Describe((stub_.get()->*method)(&context, request, &response), tried); !s.ok()) return s;
    return response;
  }

 private:
  std::string address_;
  std::unique_ptr<v1::OutlierFeed::Stub> stub_;
};

}  // namespace outlier::ctl
