#include "userspace/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

absl::Status ErrnoStatus(std::string_view action, std::string_view path, int error) {
  const std::string text = fmt::format("cannot {} {}: {}", action, Printable(path), strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return ErrnoStatus("open", path, errno);
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("read", path, errno);
    if (n == 0) return content;
    if (content.size() + n > max_bytes) {
      return absl::ResourceExhaustedError(fmt::format("cannot read {}: larger than {} bytes", Printable(path), max_bytes));
    }
    content.append(buffer, n);
  }
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view content, uint32_t mode) {
  const std::string temporary = path + ".tmp";
  {
    Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (file.get() < 0) return ErrnoStatus("create", temporary, errno);
    for (size_t done = 0; done < content.size();) {
      const ssize_t n = write(file.get(), content.data() + done, content.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        const int error = errno;
        unlink(temporary.c_str());
        return ErrnoStatus("write", temporary, error);
      }
      done += n;
    }
    if (fsync(file.get()) != 0) return ErrnoStatus("sync", temporary, errno);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return ErrnoStatus("rename to", path, errno);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  Descriptor directory(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return ErrnoStatus("sync", folder, errno);
  return absl::OkStatus();
}

absl::Status MakeFolders(const std::string& path, uint32_t mode) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return ErrnoStatus("create folder", part, errno);
  }
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return ErrnoStatus("open folder", path, errno);
  if (!S_ISDIR(status.st_mode)) return ErrnoStatus("use as folder", path, ENOTDIR);
  return absl::OkStatus();
}

absl::StatusOr<std::string> SetAside(const std::string& path) {
  for (int n = 1; n < 1000; ++n) {
    const std::string name = fmt::format("{}.damaged-{}", path, n);
    if (access(name.c_str(), F_OK) == 0) continue;
    if (rename(path.c_str(), name.c_str()) != 0) return ErrnoStatus("set aside", path, errno);
    return name;
  }
  return absl::ResourceExhaustedError(fmt::format("cannot set aside {}: 999 damaged files are kept already; remove some", Printable(path)));
}

}  // namespace outlier
