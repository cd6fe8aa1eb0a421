// Ring: the recorder's segments on disk, oldest first, and the bounds they are kept within. Not thread-safe.
#pragma once
#include <cstdint>
#include <deque>
#include <string>

#include "absl/status/status.h"
#include "userspace/recorder/disk.h"

namespace outlier::recording {

struct Segment {
  std::string path;
  uint64_t first_tick = 0;
  uint64_t bytes = 0;         // whole frames only
  int64_t first_wall_ns = 0;  // of its first tick; 0 = it has none
};

class Ring {
 public:
  Ring(std::string directory, uint64_t max_bytes, int64_t max_age_ns, Disk& disk)
      : directory_(std::move(directory)), max_bytes_(max_bytes), max_age_ns_(max_age_ns), disk_(disk) {}

  // Lists what earlier runs left; the newest is cut back to its last whole frame.
  absl::Status Load();

  const std::deque<Segment>& segments() const { return segments_; }
  Segment& newest() { return segments_.back(); }
  uint64_t bytes() const { return bytes_; }

  void Add(Segment segment);  // replaces one with the same first tick
  void Grow(uint64_t bytes, int64_t wall_ns);
  // Drops the oldest until the bounds hold, or only the newest is left.
  void Prune(int64_t now_wall_ns);
  bool DropOldest();  // false when only the newest is left

 private:
  const std::string directory_;
  const uint64_t max_bytes_;
  const int64_t max_age_ns_;
  Disk& disk_;
  std::deque<Segment> segments_;
  uint64_t bytes_ = 0;
};

}  // namespace outlier::recording
