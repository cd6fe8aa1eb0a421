// Frames: how a recording lies on disk.
//
//   segment = magic (8 bytes) | u32 format version | header frame | snapshot frame | tick frame ...
//   frame   = u32 length of payload | u64 XXH3 of (length, kind, tick, payload) | u8 kind | u64 tick | payload
//   payload = one independent zstd frame that states its content size
//
// Little-endian. A recording is one or more segments end to end. The magic cannot be taken for a frame: read as a length
// it is larger than any frame may be.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace outlier::recording {

inline constexpr std::string_view kMagic = "\x89OUTREC\n";
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kSegmentStartBytes = 12;            // magic and version
inline constexpr size_t kFrameHeaderBytes = 4 + 8 + 1 + 8;
inline constexpr size_t kMaxContentBytes = 64 << 20;        // of one frame, uncompressed
inline constexpr size_t kMaxPayloadBytes = kMaxContentBytes + (kMaxContentBytes >> 7);  // more than zstd ever needs for it

enum class FrameKind : uint8_t { kHeader = 1, kSnapshot = 2, kTick = 3 };

struct FrameHeader {
  uint32_t length = 0;
  uint64_t hash = 0;
  uint8_t kind = 0;
  uint64_t tick = 0;
};

std::string SegmentStart();
FrameHeader ReadFrameHeader(std::string_view bytes);  // kFrameHeaderBytes of them
bool FrameIsPlausible(const FrameHeader& header);     // known kind, length within bounds
uint64_t HashOf(const FrameHeader& header, std::string_view payload);  // header.hash aside
bool HashMatches(const FrameHeader& header, std::string_view payload);

// Compresses frames. Keeps its memory between calls; not thread-safe.
class FrameWriter {
 public:
  FrameWriter();
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;
  // Appends one frame to *out. RESOURCE_EXHAUSTED when `content` is larger than a frame may be.
  absl::Status Append(FrameKind kind, uint64_t tick, std::string_view content, std::string* out);

 private:
  ZSTD_CCtx_s* context_;
};

// Decompresses payloads whose hash has been checked, and still trusts none of their numbers.
class FrameReader {
 public:
  FrameReader();
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;
  // DATA_LOSS, without file and offset, which the caller knows.
  absl::StatusOr<std::string> Content(std::string_view payload, size_t max_bytes);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace outlier::recording
