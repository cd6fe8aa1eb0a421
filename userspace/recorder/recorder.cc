#include "userspace/recorder/recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include <fmt/format.h>

#include "outlier/recording/v1/recording.pb.h"
#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/recorder/frame.h"
#include "userspace/recorder/ring.h"
#include "userspace/recorder/segment_name.h"
#include "userspace/recorder/tick_codec.h"

namespace outlier {
namespace {

using recording::FrameKind;
using recording::Segment;

constexpr std::string_view kBuild = "outlierd 0.1.0";  // told to people; the format's version decides who can read
constexpr size_t kExportChunkBytes = 256 << 10;
constexpr int64_t kSegmentShare = 8;  // of max_bytes, at which a segment counts as full

// All of `bytes`, or an error.
absl::Status WriteAll(DiskFile* file, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const int64_t n = file->Write(bytes.data(), bytes.size());
    if (n < 0) return ErrnoStatus("write", path, errno);
    if (n == 0) return ErrnoStatus("write", path, ENOSPC);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

class RingRecorder : public Recorder {
 public:
  RingRecorder(const RecorderOptions& options, Disk& disk)
      : options_(options),
        disk_(disk),
        ring_(options.directory, static_cast<uint64_t>(std::max<int64_t>(0, options.max_bytes)), options.max_age_ns, disk) {}

  absl::Status Load() {
    if (const absl::Status status = MakeFolders(options_.directory); !status.ok()) return status;
    recording::RemoveUnfinishedSegments(options_.directory);
    return ring_.Load();
  }

  absl::Status BeginSegment(uint64_t snapshot_tick, std::string_view snapshot, std::string_view config) override {
    recording::v1::SegmentHeader header;
    header.set_build(std::string(kBuild));
    header.set_feed_id(options_.feed_id);
    header.set_snapshot_tick(snapshot_tick);
    header.set_config(std::string(config));
    std::string bytes = recording::SegmentStart();
    absl::Status status = frames_.Append(FrameKind::kHeader, snapshot_tick, header.SerializeAsString(), &bytes);
    if (status.ok()) status = frames_.Append(FrameKind::kSnapshot, snapshot_tick, snapshot, &bytes);
    if (!status.ok()) return status;

    const std::string path = recording::SegmentPath(options_.directory, snapshot_tick + 1);
    auto file = Create(path, bytes);
    while (!file.ok() && absl::IsResourceExhausted(file.status()) && DropOldest()) file = Create(path, bytes);
    if (!file.ok()) return file.status();
    if (file_ != nullptr) file_->Sync();  // the finished one outlives power loss too; failing that, it is as before
    const std::lock_guard lock(mutex_);
    file_ = *std::move(file);
    ring_.Add({.path = path, .first_tick = snapshot_tick + 1, .bytes = bytes.size()});
    ring_.Prune(last_wall_ns_);
    encoder_.Reset();
    last_tick_ = snapshot_tick;
    whole_ = true;
    return absl::OkStatus();
  }

  absl::Status Append(const TickInput& input) override {
    if (file_ == nullptr) return absl::FailedPreconditionError("cannot record a tick before a segment was begun");
    if (!whole_) {
      return absl::FailedPreconditionError(
          fmt::format("cannot record tick {}: tick {} could not be written, begin a new segment", input.tick, last_tick_ + 1));
    }
    if (input.tick <= last_tick_) {
      return absl::InvalidArgumentError(fmt::format("cannot record tick {} after tick {}", input.tick, last_tick_));
    }
    whole_ = false;
    if (const absl::Status status = encoder_.Encode(input, &tick_); !status.ok()) return status;
    frame_.clear();
    if (const absl::Status status = frames_.Append(FrameKind::kTick, input.tick, tick_, &frame_); !status.ok()) return status;
    absl::Status written = WriteFrame();
    while (absl::IsResourceExhausted(written) && DropOldest()) written = WriteFrame();
    if (!written.ok()) return written;
    whole_ = true;
    last_tick_ = input.tick;
    last_wall_ns_ = input.wall_time_ns;
    const std::lock_guard lock(mutex_);
    ring_.Grow(frame_.size(), input.wall_time_ns);
    ring_.Prune(input.wall_time_ns);
    return absl::OkStatus();
  }

  absl::Status Export(int64_t since_wall_ns, const std::function<bool(std::string_view)>& sink) override {
    std::vector<Segment> segments;
    {
      const std::lock_guard lock(mutex_);
      for (const Segment& s : ring_.segments()) {
        // The last one that begins at or before `since` covers it.
        if (s.first_wall_ns != 0 && s.first_wall_ns <= since_wall_ns) segments.clear();
        segments.push_back(s);
      }
    }
    bool any = false;
    for (const Segment& s : segments) {
      const int fd = open(s.path.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0 && errno == ENOENT && !any) continue;  // dropped for the bounds just now: what is left begins later
      if (fd < 0) {
        return errno == ENOENT ? absl::AbortedError(fmt::format("{} was dropped to stay within the recorder's bounds while it was to be exported; try again",
                                                                Printable(s.path)))
                               : ErrnoStatus("open recording", s.path, errno);
      }
      any = true;
      const absl::Status status = Send(fd, s, sink);
      close(fd);
      if (!status.ok()) return status;
    }
    return any ? absl::OkStatus() : absl::NotFoundError(fmt::format("{}: nothing has been recorded yet", Printable(options_.directory)));
  }

  uint64_t bytes_on_disk() const override {
    const std::lock_guard lock(mutex_);
    return ring_.bytes();
  }

  bool segment_is_full() const override {
    const std::lock_guard lock(mutex_);
    return options_.max_bytes > 0 && !ring_.segments().empty() &&
           ring_.segments().back().bytes > static_cast<uint64_t>(options_.max_bytes / kSegmentShare);
  }

 private:
  // A file under its final name is whole: it is written beside and renamed.
  absl::StatusOr<std::unique_ptr<DiskFile>> Create(const std::string& path, std::string_view bytes) {
    const std::string temporary = recording::UnfinishedPath(path);
    auto file = disk_.Create(temporary);
    if (!file.ok()) return file;
    absl::Status status = WriteAll(file->get(), bytes, temporary);
    if (status.ok() && (*file)->Sync() != 0) status = ErrnoStatus("sync", temporary, errno);
    if (status.ok()) status = disk_.Rename(temporary, path);
    if (!status.ok()) {
      disk_.Remove(temporary);
      return status;
    }
    return file;
  }

  absl::Status WriteFrame() {
    const uint64_t end = ring_.newest().bytes;
    const absl::Status status = WriteAll(file_.get(), frame_, ring_.newest().path);
    // Cut back to the last whole frame. Should that fail as well, readers take the rest for the torn tail it is.
    if (!status.ok()) file_->Truncate(end);
    return status;
  }

  bool DropOldest() {
    const std::lock_guard lock(mutex_);
    return ring_.DropOldest();
  }

  static absl::Status Send(int fd, const Segment& s, const std::function<bool(std::string_view)>& sink) {
    std::string chunk(kExportChunkBytes, '\0');
    for (uint64_t at = 0; at < s.bytes;) {
      const ssize_t n = pread(fd, chunk.data(), std::min<uint64_t>(chunk.size(), s.bytes - at), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("read recording", s.path, errno);
      if (n == 0) return absl::DataLossError(fmt::format("{}: shorter than it was written, ends at offset {}", Printable(s.path), at));
      if (!sink(std::string_view(chunk).substr(0, static_cast<size_t>(n)))) return absl::CancelledError("the export was stopped");
      at += static_cast<uint64_t>(n);
    }
    return absl::OkStatus();
  }

  const RecorderOptions options_;
  Disk& disk_;
  recording::FrameWriter frames_;
  TickEncoder encoder_;
  std::unique_ptr<DiskFile> file_;
  std::string tick_, frame_;  // reused buffers
  uint64_t last_tick_ = 0;
  int64_t last_wall_ns_ = 0;
  bool whole_ = false;
  mutable std::mutex mutex_;  // guards ring_'s changes against Export and bytes_on_disk; Append's thread reads it freely
  recording::Ring ring_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Recorder>> Recorder::Open(const RecorderOptions& options, Disk& disk) {
  auto recorder = std::make_unique<RingRecorder>(options, disk);
  if (const absl::Status status = recorder->Load(); !status.ok()) return status;
  return recorder;
}

}  // namespace outlier
