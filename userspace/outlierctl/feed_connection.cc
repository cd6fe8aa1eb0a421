#include "userspace/outlierctl/feed_connection.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "userspace/base/folders.h"

namespace outlier::ctl {
namespace {

// "unix:///run/x" and "unix:/run/x" to "/run/x"; empty for other addresses.
std::string SocketPath(const std::string& address) {
  if (address.rfind("unix:", 0) != 0) return "";
  const std::string rest = address.substr(5);
  return rest.rfind("//", 0) == 0 ? rest.substr(2) : rest;
}

// Why nobody answers at this socket, as far as the file system tells.
absl::Status WhyUnreachable(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::UnavailableError("no daemon listens there; start outlierd, or give --address");
    return absl::PermissionDeniedError(fmt::format("{}; ask for membership of group outlierd, or use root", std::strerror(errno)));
  }
  if (access(path.c_str(), W_OK) != 0) return absl::PermissionDeniedError("permission denied; ask for membership of group outlierd, or use root");
  return absl::OkStatus();
}

}  // namespace

std::string DefaultAddress() {
  if (const char* address = std::getenv("OUTLIER_ADDRESS"); address != nullptr && *address != '\0') return address;
  return LocalFeedAddress();
}

absl::StatusOr<FeedConnection> FeedConnection::Open(const std::string& address) {
  if (SocketPath(address).empty()) {
    return absl::InvalidArgumentError(fmt::format("address '{}': only unix:///path is served", address));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(256 << 20);  // thousands of workloads in one answer
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // In spite of its name, how long one attempt may take: a host that is short of CPU is when one wants to ask.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  FeedConnection connection;
  connection.address_ = address;
  connection.stub_ = v1::OutlierFeed::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  return connection;
}

absl::Status FeedConnection::Describe(const grpc::Status& status, const std::string& tried) const {
  if (status.ok()) return absl::OkStatus();
  std::string why = status.error_message();
  auto code = static_cast<absl::StatusCode>(status.error_code());
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    const absl::Status reason = WhyUnreachable(SocketPath(address_));
    why = reason.ok() ? fmt::format("the socket is there but nobody answers ({}); is outlierd running?", why) : std::string(reason.message());
    if (!reason.ok()) code = reason.code();
  } else if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    why = "the daemon did not answer in time; see its log";
  }
  return absl::Status(code, fmt::format("cannot {} at {}: {}", tried, address_, why));
}

}  // namespace outlier::ctl
