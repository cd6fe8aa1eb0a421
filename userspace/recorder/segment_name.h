// Segment files: `<first tick, 20 digits>.outlier-recording`, so that names sort as time does.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace outlier::recording {

struct SegmentFile {
  std::string path;
  uint64_t first_tick = 0;  // = snapshot tick + 1
  uint64_t bytes = 0;
};

std::string SegmentPath(const std::string& directory, uint64_t first_tick);
// While it is being made, a segment's file has another name: a crash then leaves nothing that looks like a segment.
std::string UnfinishedPath(const std::string& segment_path);
void RemoveUnfinishedSegments(const std::string& directory);
// In order; other files are left alone. NOT_FOUND when there is no such folder.
absl::StatusOr<std::vector<SegmentFile>> ListSegments(const std::string& directory);

}  // namespace outlier::recording
