// FrameScanner: the frames of one file in order, each checked. Tells a torn tail (a crash in the middle of the last write)
// from damage (bytes that changed), by looking for a whole frame behind the broken one, or for the head of the next one
// where it has to be. Not thread-safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "userspace/recorder/frame.h"

namespace outlier::recording {

struct Frame {
  FrameHeader header;
  std::string payload;
  uint64_t offset = 0;         // of its first byte in the file
  bool begins_segment = false;  // the magic stands before it
};

class FrameScanner {
 public:
  // INVALID_ARGUMENT = not a recording, FAILED_PRECONDITION = of another format version, and errors of open(2).
  static absl::StatusOr<std::unique_ptr<FrameScanner>> Open(const std::string& path);
  ~FrameScanner();
  FrameScanner(const FrameScanner&) = delete;
  FrameScanner& operator=(const FrameScanner&) = delete;

  // The next frame; std::nullopt at the end, torn or not. DATA_LOSS names file and offset.
  absl::StatusOr<std::optional<Frame>> Next();
  // Passes the next frame unread and unchecked, when it is whole and of `kind`.
  bool Skip(FrameKind kind);

  const std::string& path() const { return path_; }
  uint64_t end_of_last_frame() const { return position_; }  // where a torn tail is to be cut
  bool torn() const { return torn_; }
  absl::Status Damaged(uint64_t offset, std::string_view what) const;

 private:
  FrameScanner(std::string path, int fd, uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  absl::StatusOr<std::string> Read(uint64_t offset, size_t n) const;
  absl::Status ReadSegmentStart(bool* begins);
  // Torn when no whole frame follows `offset`, else DATA_LOSS.
  absl::StatusOr<std::optional<Frame>> Broken(uint64_t offset, std::string_view what);
  // At the end that `frame` claims stands the head of the one after it, whole or not: more was written behind it.
  bool ContinuesBehind(const Frame& frame) const;
  absl::StatusOr<bool> WholeFrameFollows(uint64_t offset) const;

  const std::string path_;
  const int fd_;
  const uint64_t size_;  // when it was opened: what is written later is not seen
  uint64_t position_ = 0;
  uint64_t last_tick_ = 0;
  bool torn_ = false;
};

}  // namespace outlier::recording
