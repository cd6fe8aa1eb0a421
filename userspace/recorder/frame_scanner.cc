#include "userspace/recorder/frame_scanner.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"

namespace outlier::recording {
namespace {

constexpr uint64_t kMaxFrameBytes = kFrameHeaderBytes + kMaxPayloadBytes;
constexpr uint64_t kTickReach = 1 << 20;  // a frame behind a broken one continues about where that one was

}  // namespace

absl::StatusOr<std::unique_ptr<FrameScanner>> FrameScanner::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus("open recording", path, errno);
  struct stat status;
  if (fstat(fd, &status) != 0) {
    const int error = errno;
    close(fd);
    return ErrnoStatus("open recording", path, error);
  }
  std::unique_ptr<FrameScanner> scanner(new FrameScanner(path, fd, static_cast<uint64_t>(std::max<int64_t>(0, status.st_size))));
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file, so not a recording", Printable(path)));
  }
  const auto start = scanner->Read(0, std::min<uint64_t>(kSegmentStartBytes, scanner->size_));
  if (!start.ok()) return start.status();
  if (start->size() < kSegmentStartBytes || start->compare(0, kMagic.size(), kMagic.data(), kMagic.size()) != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not a recording of outlierd (offset 0); give a file made by `outlierctl record`", Printable(path)));
  }
  bool begins = false;
  if (const absl::Status checked = scanner->ReadSegmentStart(&begins); !checked.ok()) return checked;
  scanner->position_ = 0;
  return scanner;
}

FrameScanner::~FrameScanner() { close(fd_); }

absl::Status FrameScanner::Damaged(uint64_t offset, std::string_view what) const {
  return absl::DataLossError(fmt::format("{}: damaged at offset {}: {}", Printable(path_), offset, what));
}

absl::StatusOr<std::string> FrameScanner::Read(uint64_t offset, size_t n) const {
  std::string out(n, '\0');
  for (size_t done = 0; done < n;) {
    const ssize_t got = pread(fd_, out.data() + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("read recording", path_, errno);
    if (got == 0) return Damaged(offset + done, "the file became shorter while it was read");
    done += static_cast<size_t>(got);
  }
  return out;
}

absl::Status FrameScanner::ReadSegmentStart(bool* begins) {
  *begins = false;
  if (size_ - position_ < kSegmentStartBytes) return absl::OkStatus();
  const auto start = Read(position_, kSegmentStartBytes);
  if (!start.ok()) return start.status();
  if (start->compare(0, kMagic.size(), kMagic.data(), kMagic.size()) != 0) return absl::OkStatus();
  uint32_t version = 0;
  std::memcpy(&version, start->data() + kMagic.size(), sizeof version);
  if (version != kFormatVersion) {
    return absl::FailedPreconditionError(
        fmt::format("{}: recording format {} at offset {}, this build reads format {}; use the outlierd that recorded it",
                    Printable(path_), version, position_, kFormatVersion));
  }
  position_ += kSegmentStartBytes;
  *begins = true;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Frame>> FrameScanner::Next() {
  if (torn_ || position_ >= size_) return std::nullopt;
  Frame frame;
  const uint64_t before = position_;
  if (const absl::Status status = ReadSegmentStart(&frame.begins_segment); !status.ok()) return status;
  frame.offset = position_;
  const uint64_t left = size_ - position_;
  const auto broken = [&](std::string_view what) {
    position_ = before;
    return Broken(frame.offset, what);
  };
  if (left < kFrameHeaderBytes) return broken("a frame is cut short");
  const auto head = Read(position_, kFrameHeaderBytes);
  if (!head.ok()) return head.status();
  frame.header = ReadFrameHeader(*head);
  if (!FrameIsPlausible(frame.header)) return broken("not a frame");
  if (frame.header.length > left - kFrameHeaderBytes) return broken("a frame is cut short");
  auto payload = Read(position_ + kFrameHeaderBytes, frame.header.length);
  if (!payload.ok()) return payload.status();
  if (!HashMatches(frame.header, *payload)) {
    constexpr std::string_view kWhat = "the checksum of a frame does not match";
    if (ContinuesBehind(frame)) return Damaged(frame.offset, kWhat);
    return broken(kWhat);
  }
  frame.payload = *std::move(payload);
  position_ += kFrameHeaderBytes + frame.header.length;
  last_tick_ = frame.header.tick;
  return frame;
}

bool FrameScanner::Skip(FrameKind kind) {
  const uint64_t before = position_;
  bool begins = false;
  if (torn_ || !ReadSegmentStart(&begins).ok() || size_ - position_ < kFrameHeaderBytes) {
    position_ = before;
    return false;
  }
  const auto head = Read(position_, kFrameHeaderBytes);
  const FrameHeader header = head.ok() ? ReadFrameHeader(*head) : FrameHeader{};
  if (!FrameIsPlausible(header) || header.kind != static_cast<uint8_t>(kind) || header.length > size_ - position_ - kFrameHeaderBytes) {
    position_ = before;
    return false;
  }
  position_ += kFrameHeaderBytes + header.length;
  last_tick_ = header.tick;
  return true;
}

absl::StatusOr<std::optional<Frame>> FrameScanner::Broken(uint64_t offset, std::string_view what) {
  const auto follows = WholeFrameFollows(offset + 1);
  if (!follows.ok()) return follows.status();
  if (*follows) return Damaged(offset, what);
  torn_ = true;
  return std::nullopt;
}

bool FrameScanner::ContinuesBehind(const Frame& frame) const {
  const uint64_t end = frame.offset + kFrameHeaderBytes + frame.header.length;
  if (frame.header.tick < last_tick_ || frame.header.tick - last_tick_ > 1 || size_ - end < kFrameHeaderBytes) return false;
  const auto head = Read(end, kFrameHeaderBytes);
  if (!head.ok()) return false;
  const FrameHeader next = ReadFrameHeader(*head);
  return FrameIsPlausible(next) && next.tick >= frame.header.tick && next.tick - frame.header.tick <= 1;
}

absl::StatusOr<bool> FrameScanner::WholeFrameFollows(uint64_t offset) const {
  if (offset + kFrameHeaderBytes > size_) return false;
  // More is left than one frame can hold: it was not the last write that was interrupted.
  if (size_ - offset > kMaxFrameBytes) return true;
  const auto rest = Read(offset, size_ - offset);
  if (!rest.ok()) return rest.status();
  const std::string_view bytes(*rest);
  // A file made to look like endless frames must not cost more than reading it a few times.
  uint64_t budget = 8 * bytes.size();
  for (size_t i = 0; i + kFrameHeaderBytes <= bytes.size(); ++i) {
    const FrameHeader h = ReadFrameHeader(bytes.substr(i));
    if (!FrameIsPlausible(h) || h.length > bytes.size() - i - kFrameHeaderBytes) continue;
    if (h.tick < last_tick_ || h.tick - last_tick_ > kTickReach) continue;
    if (h.length > budget) return true;
    budget -= h.length;
    if (HashMatches(h, bytes.substr(i + kFrameHeaderBytes, h.length))) return true;
  }
  return false;
}

}  // namespace outlier::recording
