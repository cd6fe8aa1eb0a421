// Disk: the few calls through which the recorder writes, so that a test can make any of them fail.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace outlier {

// An open file for appending. Closed by the destructor.
class DiskFile {
 public:
  virtual ~DiskFile() = default;
  // As write(2): the number of bytes taken, which may be fewer, or -1 with errno.
  virtual int64_t Write(const char* bytes, size_t n) = 0;
  virtual int Truncate(uint64_t size) = 0;  // 0, or -1 with errno; later writes go to the new end
  virtual int Sync() = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual absl::StatusOr<std::unique_ptr<DiskFile>> Create(const std::string& path) = 0;  // replaces what is there
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;        // and syncs the folder
  virtual void Remove(const std::string& path) = 0;
};

// The real one. Stateless and thread-safe.
Disk& RealDisk();

}  // namespace outlier
