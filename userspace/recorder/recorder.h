// Recorder: the engine's input log, as a bounded ring of segment files ("flight recorder").
//
// A segment is: header (magic, version, build id, feed_id), one frame with the engine's snapshot *before* the first tick of the
// segment, then one frame a tick. Every frame is [length, XXH3, kind, tick] + an independent zstd frame, so a torn tail
// is recognised and everything before it is used. Ticks are delta-encoded against the previous tick of the same segment.
// An exported recording is one or more segments, concatenated.
//
// Durability: when Append has returned, the tick survives kill -9 of this process (not power loss: nothing is fsynced
// per tick). Bounds: the oldest segments go when max_bytes or max_age is exceeded. Not thread-safe but for Export.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

struct RecorderOptions {
  std::string directory;
  int64_t max_bytes = 0;
  int64_t max_age_ns = 0;
  std::string feed_id;
  std::string config;  // serialised outlier.config.v1.Config in force at the first tick, kept in every segment header
};

// Reads one file that holds one or more segments, or a recorder's directory in order.
class RecordingReader {
 public:
  static absl::StatusOr<std::unique_ptr<RecordingReader>> OpenFile(const std::string& path);
  // Segments of a recorder directory from the newest one whose snapshot tick is <= `from_tick`.
  static absl::StatusOr<std::unique_ptr<RecordingReader>> OpenDirectory(const std::string& directory, uint64_t from_tick);
  virtual ~RecordingReader() = default;

  // Of the first segment. The snapshot is opaque: Engine::Load reads it; empty = the engine began here.
  virtual const std::string& config() const = 0;
  virtual const std::string& feed_id() const = 0;
  virtual const std::string& snapshot() const = 0;
  virtual uint64_t snapshot_tick() const = 0;  // the last tick the snapshot contains; 0 = none

  // The next tick, std::nullopt at the end. DATA_LOSS names file and offset for damage that is not a torn tail.
  virtual absl::StatusOr<std::optional<TickInput>> Next() = 0;
  // Said once reading has ended: the last segment was cut short (a crash), or ticks between segments are missing.
  virtual bool torn_tail() const = 0;
};

class Recorder {
 public:
  static absl::StatusOr<std::unique_ptr<Recorder>> Open(const RecorderOptions& options);
  virtual ~Recorder() = default;

  // Begins a new segment. `snapshot` is the engine's state after `snapshot_tick`. Must be called before the first Append.
  virtual absl::Status BeginSegment(uint64_t snapshot_tick, std::string_view snapshot, std::string_view config) = 0;
  virtual absl::Status Append(const TickInput& input) = 0;
  // Writes the segments that cover `since_wall_ns`..now to `sink` in chunks. May run on another thread than Append.
  virtual absl::Status Export(int64_t since_wall_ns, const std::function<bool(std::string_view)>& sink) = 0;
  virtual uint64_t bytes_on_disk() const = 0;
};

}  // namespace outlier
