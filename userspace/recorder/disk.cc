#include "userspace/recorder/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "userspace/base/file.h"

namespace outlier {
namespace {

class RealFile : public DiskFile {
 public:
  explicit RealFile(int fd) : fd_(fd) {}
  ~RealFile() override { close(fd_); }
  int64_t Write(const char* bytes, size_t n) override {
    for (;;) {
      const ssize_t done = write(fd_, bytes, n);
      if (done >= 0 || errno != EINTR) return done;
    }
  }
  int Truncate(uint64_t size) override { return ftruncate(fd_, static_cast<off_t>(size)); }
  int Sync() override { return fdatasync(fd_); }

 private:
  int fd_;
};

class RealDiskCalls : public Disk {
 public:
  absl::StatusOr<std::unique_ptr<DiskFile>> Create(const std::string& path) override {
    // O_APPEND: after a truncation the next write goes to the new end.
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) return ErrnoStatus("create", path, errno);
    return std::make_unique<RealFile>(fd);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename to", to, errno);
    const std::string folder = std::filesystem::path(to).parent_path().string();
    const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = fd >= 0 && fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0) close(fd);
    return synced ? absl::OkStatus() : ErrnoStatus("sync", folder, error);
  }
  void Remove(const std::string& path) override { unlink(path.c_str()); }
};

}  // namespace

Disk& RealDisk() {
  static RealDiskCalls disk;
  return disk;
}

}  // namespace outlier
