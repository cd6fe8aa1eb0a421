#include "userspace/recorder/ring.h"

#include <unistd.h>

#include <cerrno>

#include "userspace/base/file.h"
#include "userspace/recorder/frame_scanner.h"
#include "userspace/recorder/segment_name.h"
#include "userspace/recorder/tick_codec.h"

namespace outlier::recording {
namespace {

// The first tick's wall time, without reading the snapshot before it; 0 when there is none or it is damaged.
int64_t FirstWallTime(const std::string& path) {
  auto scanner = FrameScanner::Open(path);
  if (!scanner.ok() || !(*scanner)->Skip(FrameKind::kHeader) || !(*scanner)->Skip(FrameKind::kSnapshot)) return 0;
  auto frame = (*scanner)->Next();
  if (!frame.ok() || !frame->has_value()) return 0;
  const auto content = FrameReader().Content((*frame)->payload, kMaxTickBytes);
  if (!content.ok()) return 0;
  const auto tick = TickDecoder().Decode(*content);
  return tick.ok() ? tick->wall_time_ns : 0;
}

absl::Status CutTornTail(SegmentFile* segment) {
  auto scanner = FrameScanner::Open(segment->path);
  if (!scanner.ok()) return absl::OkStatus();  // whoever reads it will be told why
  for (;;) {
    const auto frame = (*scanner)->Next();
    if (!frame.ok()) return absl::OkStatus();  // damaged in the middle: readers say so, nothing is thrown away
    if (!frame->has_value()) break;
  }
  if (!(*scanner)->torn()) return absl::OkStatus();
  if (truncate(segment->path.c_str(), static_cast<off_t>((*scanner)->end_of_last_frame())) != 0) {
    return ErrnoStatus("cut the torn tail of", segment->path, errno);
  }
  segment->bytes = (*scanner)->end_of_last_frame();
  return absl::OkStatus();
}

}  // namespace

absl::Status Ring::Load() {
  auto files = ListSegments(directory_);
  if (!files.ok()) return files.status();
  if (!files->empty()) {
    if (const absl::Status status = CutTornTail(&files->back()); !status.ok()) return status;
  }
  for (const SegmentFile& file : *files) {
    Add({.path = file.path, .first_tick = file.first_tick, .bytes = file.bytes, .first_wall_ns = FirstWallTime(file.path)});
  }
  return absl::OkStatus();
}

void Ring::Add(Segment segment) {
  std::erase_if(segments_, [&](const Segment& s) {
    if (s.first_tick != segment.first_tick) return false;
    bytes_ -= s.bytes;
    return true;
  });
  bytes_ += segment.bytes;
  segments_.push_back(std::move(segment));
}

void Ring::Grow(uint64_t bytes, int64_t wall_ns) {
  Segment& segment = newest();
  segment.bytes += bytes;
  bytes_ += bytes;
  if (segment.first_wall_ns == 0) segment.first_wall_ns = wall_ns;
}

bool Ring::DropOldest() {
  if (segments_.size() < 2) return false;
  disk_.Remove(segments_.front().path);
  bytes_ -= segments_.front().bytes;
  segments_.pop_front();
  return true;
}

void Ring::Prune(int64_t now_wall_ns) {
  while (max_bytes_ > 0 && bytes_ > max_bytes_ && DropOldest()) {
  }
  // A segment is too old when the one after it already began before the limit.
  while (max_age_ns_ > 0 && segments_.size() >= 2 && segments_[1].first_wall_ns != 0 &&
         segments_[1].first_wall_ns < now_wall_ns - max_age_ns_ && DropOldest()) {
  }
}

}  // namespace outlier::recording
