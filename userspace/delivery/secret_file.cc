#include "userspace/delivery/secret_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMaxBytes = 64 << 10;

}  // namespace

absl::StatusOr<std::string> SecretFile::Read() {
  const auto wrong = [&](std::string_view why) {
    changed_ns_ = -1;
    return absl::FailedPreconditionError(fmt::format("cannot read secret {}: {}", Printable(path_), why));
  };
  struct stat status;
  if (stat(path_.c_str(), &status) != 0) return wrong(std::generic_category().message(errno));
  const int64_t changed = status.st_mtim.tv_sec * int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  if (changed_ns_ == changed && inode_ == status.st_ino && size_ == status.st_size) return content_;
  absl::StatusOr<std::string> text = ReadFile(path_, kMaxBytes);
  if (!text.ok()) return wrong(MessageOf(text.status()));
  const size_t first = text->find_first_not_of(" \t\r\n"), last = text->find_last_not_of(" \t\r\n");
  if (first == std::string::npos) return wrong("it is empty; put the key into it");
  content_ = text->substr(first, last - first + 1);
  const bool clean = std::none_of(content_.begin(), content_.end(), [](unsigned char c) { return (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f; });
  if (!clean) return wrong("it holds control characters; is it the right file?");
  changed_ns_ = changed;
  inode_ = status.st_ino;
  size_ = status.st_size;
  return content_;
}

}  // namespace outlier
