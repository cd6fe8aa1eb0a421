// Recorder: the engine's input log, as a bounded ring of segment files ("flight recorder").
//
// A segment is: header (magic, version, build id, feed_id), one frame with the engine's snapshot *before* the first tick of the
// segment, then one frame a tick. Every frame is [length, XXH3, kind, tick] + an independent zstd frame, so a torn tail
// is recognised and everything before it is used. Ticks are delta-encoded against the previous tick of the same segment.
// An exported recording is one or more segments, concatenated. The layout of the bytes: frame.h; of a tick: recording.proto.
//
// Durability: when Append has returned, the tick survives kill -9 of this process (not power loss: nothing is fsynced
// per tick; a finished segment is). Bounds: the oldest segments go when max_bytes or max_age is exceeded, never the one being
// written: begin a new one when segment_is_full(). On a full disk the oldest recordings make room before an error is
// returned. Not thread-safe but for Export and bytes_on_disk.
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
#include "userspace/recorder/disk.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

struct RecorderOptions {
  std::string directory;
  int64_t max_bytes = 0;   // 0 = no bound
  int64_t max_age_ns = 0;  // by the ticks' wall time; 0 = no bound
  std::string feed_id;
  std::string config;  // serialised outlier.config.v1.Config in force at the first tick, kept in every segment header
};

// Reads one file that holds one or more segments, or a recorder's directory in order. Not thread-safe.
//
// Opening fails with INVALID_ARGUMENT for a file that is no recording, FAILED_PRECONDITION for one of another format
// version, DATA_LOSS for a damaged beginning, NOT_FOUND. Whatever the bytes say, at most a few hundred MiB are allocated.
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

  // The next tick, std::nullopt at the end. DATA_LOSS names file and offset for damage that is not a torn tail; the same
  // error is returned from then on. Damage to the very last frame cannot be told from a torn tail and is taken for one.
  virtual absl::StatusOr<std::optional<TickInput>> Next() = 0;
  // Said once reading has ended: the last segment was cut short (a crash), or ticks between segments are missing.
  virtual bool torn_tail() const = 0;
};

class Recorder {
 public:
  // Makes the folder where needed, cuts a torn tail off the newest segment, and drops what exceeds the bounds.
  static absl::StatusOr<std::unique_ptr<Recorder>> Open(const RecorderOptions& options, Disk& disk = RealDisk());
  virtual ~Recorder() = default;

  // Begins a new segment, all of it or (on error) nothing. `snapshot` is the engine's state after `snapshot_tick`. Must be
  // called before the first Append.
  virtual absl::Status BeginSegment(uint64_t snapshot_tick, std::string_view snapshot, std::string_view config) = 0;
  // RESOURCE_EXHAUSTED or UNAVAILABLE when it cannot be written: the segment then ends with the tick before, and further
  // ticks get FAILED_PRECONDITION until BeginSegment succeeds, for a replay must not step over a missing tick unawares.
  virtual absl::Status Append(const TickInput& input) = 0;
  // Writes the segments that cover `since_wall_ns`..now to `sink` in chunks, until it returns false (CANCELLED). May run on
  // another thread than Append. ABORTED when a segment had to be dropped for the bounds before its turn came.
  virtual absl::Status Export(int64_t since_wall_ns, const std::function<bool(std::string_view)>& sink) = 0;
  virtual uint64_t bytes_on_disk() const = 0;
  // The segment being written takes more than an eighth of max_bytes: time for BeginSegment, so that the bounds can hold.
  virtual bool segment_is_full() const = 0;
};

}  // namespace outlier
