// A secret in a file of its own: read when first asked for, and again whenever the file has changed, so that a key is rotated by replacing
// the file. Not thread-safe.
#pragma once
#include <string>

#include "absl/status/statusor.h"

namespace outlier {

class SecretFile {
 public:
  explicit SecretFile(std::string path) : path_(std::move(path)) {}
  bool given() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  // The content without white space at both ends. FAILED_PRECONDITION: "cannot read secret <path>: ...; ..." where it cannot be read, is empty,
  // longer than 64 KiB, or holds control characters within a line. The last good content is not used: a key that was taken away must not be.
  absl::StatusOr<std::string> Read();

 private:
  std::string path_;
  std::string content_;
  int64_t changed_ns_ = -1;   // of the file that content_ was read from
  uint64_t inode_ = 0;
  int64_t size_ = -1;
};

}  // namespace outlier
