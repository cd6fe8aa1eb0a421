// Small seam to the file system: whole files, read with a bound and written atomically.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace outlier {

// NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (larger than max_bytes), else UNAVAILABLE; each names path and errno.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes = 64 << 20);

// Temporary file beside it, fsync, rename, fsync of the folder: readers see the old or the new content, never a part.
absl::Status WriteFileAtomically(const std::string& path, std::string_view content, uint32_t mode = 0640);

// mkdir -p with `mode` for the folders it makes.
absl::Status MakeFolders(const std::string& path, uint32_t mode = 0750);

// Renames a damaged file to `path.damaged-1`, -2, ... and returns the new name.
absl::StatusOr<std::string> SetAside(const std::string& path);

// A status from errno: "cannot <action> <path>: <errno text>".
absl::Status ErrnoStatus(std::string_view action, std::string_view path, int error);

}  // namespace outlier
