#include "userspace/feed/journal_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"

namespace outlier {

absl::StatusOr<std::unique_ptr<JournalLock>> JournalLock::Take(const std::string& journal_path) {
  const std::string path = (std::filesystem::path(journal_path).parent_path() / "journal.lock").string();
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd < 0) return ErrnoStatus("open lock", path, errno);
  std::unique_ptr<JournalLock> lock(new JournalLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus("lock", path, errno);
    char text[32] = {};
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    const long pid = n > 0 ? std::strtol(text, nullptr, 10) : 0;
    return absl::UnavailableError(fmt::format("cannot open journal {}: process {} holds it; stop that one or give another state folder",
                                              Printable(journal_path), pid > 0 ? std::to_string(pid) : std::string("(unknown)")));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  // The number is for people: without it (disk full) the lock still holds.
  if (ftruncate(fd, 0) == 0 && pwrite(fd, pid.data(), pid.size(), 0) < 0) errno = 0;
  return lock;
}

JournalLock::~JournalLock() { close(fd_); }

}  // namespace outlier
