#include "userspace/outlierctl/relay_connection.h"

#include <unistd.h>

#include <fmt/format.h>

#include "userspace/base/folders.h"

namespace outlier::ctl {
namespace {

constexpr const char* kSystemSocket = "/run/outlierd/relay.sock";

}  // namespace

std::string DefaultRelayAddress() {
  const bool system_reachable = access(kSystemSocket, R_OK | W_OK) == 0;
  return "unix://" + (system_reachable ? kSystemSocket : FoldersOfUser().run + "/relay.sock");
}

absl::StatusOr<RelayConnection> RelayConnection::Open(const std::string& address) {
  if (address.rfind("unix:", 0) != 0 || address.size() <= 5) {
    return absl::InvalidArgumentError(fmt::format("relay address '{}': only unix:///path is served", address));
  }
  RelayConnection connection;
  connection.address_ = address;
  connection.stub_ = relay::v1::RelayAdmin::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  return connection;
}

absl::Status RelayConnection::Describe(const grpc::Status& status, const std::string& tried) const {
  if (status.ok()) return absl::OkStatus();
  std::string why = status.error_message();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    why = fmt::format("no outlier-relay answers there ({}); start it, or give --relay-address", why);
  } else if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    why = "the relay did not answer in time; see its log";
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), fmt::format("cannot {} at {}: {}", tried, address_, why));
}

}  // namespace outlier::ctl
