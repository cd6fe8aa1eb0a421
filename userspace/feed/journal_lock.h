// JournalLock: one process writes a journal. An flock on `journal.lock` beside it, which the kernel drops with the process.
#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace outlier {

class JournalLock {
 public:
  // UNAVAILABLE names the process that holds it.
  static absl::StatusOr<std::unique_ptr<JournalLock>> Take(const std::string& journal_path);
  ~JournalLock();
  JournalLock(const JournalLock&) = delete;
  JournalLock& operator=(const JournalLock&) = delete;

 private:
  explicit JournalLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace outlier
