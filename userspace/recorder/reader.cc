// RecordingReader: ticks out of one file or a chain of files, each file holding one or more segments.
#include <fmt/format.h>

#include "outlier/recording/v1/recording.pb.h"
#include "userspace/base/text.h"
#include "userspace/recorder/frame_scanner.h"
#include "userspace/recorder/recorder.h"
#include "userspace/recorder/segment_name.h"
#include "userspace/recorder/tick_codec.h"

namespace outlier {
namespace {

using recording::Frame;
using recording::FrameKind;

constexpr size_t kMaxHeaderBytes = 1 << 20;

class ChainReader : public RecordingReader {
 public:
  explicit ChainReader(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  absl::Status Begin() {
    if (const absl::Status status = OpenNextFile(); !status.ok()) return status;
    auto frame = scanner_->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return scanner_->Damaged(0, "it ends before its first segment does");
    return BeginSegment(**frame, /*first=*/true);
  }

  const std::string& config() const override { return header_.config(); }
  const std::string& feed_id() const override { return header_.feed_id(); }
  const std::string& snapshot() const override { return snapshot_; }
  uint64_t snapshot_tick() const override { return header_.snapshot_tick(); }
  bool torn_tail() const override { return torn_; }

  absl::StatusOr<std::optional<TickInput>> Next() override {
    if (!failed_.ok()) return failed_;
    auto tick = NextTick();
    if (!tick.ok()) failed_ = tick.status();
    return tick;
  }

 private:
  absl::Status OpenNextFile() {
    auto scanner = recording::FrameScanner::Open(paths_[file_]);
    if (!scanner.ok()) return scanner.status();
    ++file_;
    scanner_ = *std::move(scanner);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Content(const Frame& frame, size_t max_bytes) {
    auto content = frames_.Content(frame.payload, max_bytes);
    if (!content.ok()) return scanner_->Damaged(frame.offset, std::string(content.status().message()));
    return content;
  }

  // `frame` is the header frame; the snapshot frame is taken too.
  absl::Status BeginSegment(const Frame& frame, bool first) {
    if (!frame.begins_segment || frame.header.kind != static_cast<uint8_t>(FrameKind::kHeader)) {
      return scanner_->Damaged(frame.offset, "a segment does not begin with its header");
    }
    const auto content = Content(frame, kMaxHeaderBytes);
    if (!content.ok()) return content.status();
    recording::v1::SegmentHeader header;
    if (!header.ParseFromString(*content)) return scanner_->Damaged(frame.offset, "not a segment header");
    const auto snapshot = scanner_->Next();
    if (!snapshot.ok()) return snapshot.status();
    if (!snapshot->has_value()) {
      if (first) return scanner_->Damaged(frame.offset, "the first segment is cut short before its snapshot ends");
      return absl::OkStatus();
    }
    if ((*snapshot)->begins_segment || (*snapshot)->header.kind != static_cast<uint8_t>(FrameKind::kSnapshot)) {
      return scanner_->Damaged((*snapshot)->offset, "a segment has no snapshot");
    }
    if (first) {
      auto state = Content(**snapshot, recording::kMaxContentBytes);
      if (!state.ok()) return state.status();
      snapshot_ = *std::move(state);
      header_ = header;
      last_tick_ = header.snapshot_tick();
    } else if (header.snapshot_tick() != last_tick_) {
      torn_ = true;
    }
    segment_tick_ = header.snapshot_tick();
    decoder_.Reset();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<TickInput>> NextTick() {
    for (;;) {
      auto frame = scanner_->Next();
      if (!frame.ok()) return frame.status();
      if (!frame->has_value()) {
        torn_ |= scanner_->torn();
        if (file_ == paths_.size()) return std::nullopt;
        if (const absl::Status status = OpenNextFile(); !status.ok()) return status;
        continue;
      }
      const Frame& f = **frame;
      if (f.begins_segment || f.header.kind != static_cast<uint8_t>(FrameKind::kTick)) {
        if (const absl::Status status = BeginSegment(f, /*first=*/false); !status.ok()) return status;
        continue;
      }
      if (f.header.tick <= segment_tick_) return scanner_->Damaged(f.offset, fmt::format("tick {} follows tick {}", f.header.tick, segment_tick_));
      segment_tick_ = f.header.tick;
      const auto content = Content(f, kMaxTickBytes);
      if (!content.ok()) return content.status();
      auto tick = decoder_.Decode(*content);
      if (!tick.ok()) return scanner_->Damaged(f.offset, std::string(tick.status().message()));
      if (tick->tick != f.header.tick) return scanner_->Damaged(f.offset, "a frame holds another tick than it says");
      // Segments overlap when the daemon had to begin again from an older snapshot; the first telling counts.
      if (tick->tick <= last_tick_) continue;
      if (tick->tick != last_tick_ + 1) torn_ = true;
      last_tick_ = tick->tick;
      return std::optional<TickInput>(*std::move(tick));
    }
  }

  const std::vector<std::string> paths_;
  size_t file_ = 0;
  std::unique_ptr<recording::FrameScanner> scanner_;
  recording::FrameReader frames_;
  TickDecoder decoder_;
  recording::v1::SegmentHeader header_;
  std::string snapshot_;
  uint64_t last_tick_ = 0;     // given out last
  uint64_t segment_tick_ = 0;  // read last in this segment
  bool torn_ = false;
  absl::Status failed_;
};

absl::StatusOr<std::unique_ptr<RecordingReader>> OpenChain(std::vector<std::string> paths) {
  auto reader = std::make_unique<ChainReader>(std::move(paths));
  if (const absl::Status status = reader->Begin(); !status.ok()) return status;
  return reader;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordingReader>> RecordingReader::OpenFile(const std::string& path) { return OpenChain({path}); }

absl::StatusOr<std::unique_ptr<RecordingReader>> RecordingReader::OpenDirectory(const std::string& directory, uint64_t from_tick) {
  const auto segments = recording::ListSegments(directory);
  if (!segments.ok()) return segments.status();
  std::vector<std::string> paths;
  for (const recording::SegmentFile& segment : *segments) {
    if (segment.first_tick - 1 <= from_tick) paths.clear();  // a newer snapshot that still lies before
    if (segment.first_tick - 1 <= from_tick || !paths.empty()) paths.push_back(segment.path);
  }
  if (paths.empty()) {
    return absl::NotFoundError(
        segments->empty() ? fmt::format("{}: no recordings here", Printable(directory))
                          : fmt::format("{}: no recording begins at or before tick {}, the oldest begins after tick {}", Printable(directory),
                                        from_tick, segments->front().first_tick - 1));
  }
  return OpenChain(std::move(paths));
}

}  // namespace outlier
