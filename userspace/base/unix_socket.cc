#include "userspace/base/unix_socket.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr const char* kGroup = "outlierd";
constexpr mode_t kSocketMode = 0660;
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

// errno of connect(2); 0 = somebody answers.
int TryToConnect(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int error = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  close(fd);
  return error;
}

}  // namespace

absl::StatusOr<std::string> SocketPath(const std::string& address) {
  std::string path;
  if (address.starts_with("unix://")) {
    path = address.substr(7);
  } else if (address.starts_with("unix:")) {
    path = address.substr(5);
  } else {
    return absl::InvalidArgumentError(
        fmt::format("cannot listen on {}: TCP is only for mutual TLS, which this version does not have; use unix:///path", Printable(address)));
  }
  if (path.empty() || path.find('\0') != std::string::npos || (address.starts_with("unix://") && path.front() != '/')) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}: use unix:///path with an absolute path", Printable(address)));
  }
  if (path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(
        fmt::format("cannot listen on {}: a socket's path has at most {} bytes, this one {}", Printable(address), kMaxPathBytes, path.size()));
  }
  return path;
}

absl::Status ClearSocketPath(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) {
    const mode_t before = umask(0022);  // the socket has a mode of its own, and its group has to get there
    const absl::Status status = MakeFolders(folder, 0755);
    umask(before);
    if (!status.ok()) return status;
  }
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return errno == ENOENT ? absl::OkStatus() : ErrnoStatus("look at socket", path, errno);
  if (!S_ISSOCK(status.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}: it exists and is not a socket", Printable(path)));
  }
  const int error = TryToConnect(path);
  if (error == ECONNREFUSED) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus("remove the stale socket", path, errno);
    return absl::OkStatus();
  }
  if (error == 0 || error == EAGAIN || error == EINPROGRESS) {
    return absl::UnavailableError(fmt::format("cannot listen on {}: another program answers there", Printable(path)));
  }
  return ErrnoStatus("test the existing socket", path, error);
}

absl::Status RestrictSocket(const std::string& path) {
  std::vector<char> buffer(1 << 14);
  group entry;
  group* found = nullptr;
  if (getgrnam_r(kGroup, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    // Without the right to give it away it stays the starting user's own.
    if (chown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0 && errno != EPERM) return ErrnoStatus("set the group of", path, errno);
  }
  if (chmod(path.c_str(), kSocketMode) != 0) return ErrnoStatus("set the mode of", path, errno);
  return absl::OkStatus();
}

}  // namespace outlier
