#include "userspace/recorder/frame.h"

#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

namespace outlier::recording {
namespace {

constexpr int kCompressionLevel = 1;  // ticks are small differences already; a higher level costs CPU each second for few bytes

void Put(const void* from, size_t n, std::string* out) { out->append(static_cast<const char*>(from), n); }

}  // namespace

std::string SegmentStart() {
  std::string out(kMagic);
  Put(&kFormatVersion, sizeof kFormatVersion, &out);
  return out;
}

FrameHeader ReadFrameHeader(std::string_view bytes) {
  FrameHeader h;
  std::memcpy(&h.length, bytes.data(), 4);
  std::memcpy(&h.hash, bytes.data() + 4, 8);
  std::memcpy(&h.kind, bytes.data() + 12, 1);
  std::memcpy(&h.tick, bytes.data() + 13, 8);
  return h;
}

bool FrameIsPlausible(const FrameHeader& h) {
  return h.length > 0 && h.length <= kMaxPayloadBytes && h.kind >= static_cast<uint8_t>(FrameKind::kHeader) &&
         h.kind <= static_cast<uint8_t>(FrameKind::kTick);
}

uint64_t HashOf(const FrameHeader& h, std::string_view payload) {
  char fixed[13];
  std::memcpy(fixed, &h.length, 4);
  std::memcpy(fixed + 4, &h.kind, 1);
  std::memcpy(fixed + 5, &h.tick, 8);
  // The fixed part seeds the hash of the payload, so that both are covered without copying.
  return XXH3_64bits_withSeed(payload.data(), payload.size(), XXH3_64bits(fixed, sizeof fixed));
}

bool HashMatches(const FrameHeader& h, std::string_view payload) { return HashOf(h, payload) == h.hash; }

FrameWriter::FrameWriter() : context_(ZSTD_createCCtx()) {}
FrameWriter::~FrameWriter() { ZSTD_freeCCtx(context_); }

absl::Status FrameWriter::Append(FrameKind kind, uint64_t tick, std::string_view content, std::string* out) {
  if (content.size() > kMaxContentBytes) {
    return absl::ResourceExhaustedError(
        fmt::format("cannot record {} bytes in one frame, at most {} fit", content.size(), kMaxContentBytes));
  }
  const size_t start = out->size();
  const size_t bound = ZSTD_compressBound(content.size());
  out->resize(start + kFrameHeaderBytes + bound);
  const size_t n = ZSTD_compressCCtx(context_, out->data() + start + kFrameHeaderBytes, bound, content.data(), content.size(), kCompressionLevel);
  if (ZSTD_isError(n)) {
    out->resize(start);
    return absl::ResourceExhaustedError(fmt::format("cannot compress a frame: {}", ZSTD_getErrorName(n)));
  }
  FrameHeader h{.length = static_cast<uint32_t>(n), .kind = static_cast<uint8_t>(kind), .tick = tick};
  h.hash = HashOf(h, std::string_view(*out).substr(start + kFrameHeaderBytes, n));
  char* to = out->data() + start;
  std::memcpy(to, &h.length, 4);
  std::memcpy(to + 4, &h.hash, 8);
  std::memcpy(to + 12, &h.kind, 1);
  std::memcpy(to + 13, &h.tick, 8);
  out->resize(start + kFrameHeaderBytes + n);
  return absl::OkStatus();
}

FrameReader::FrameReader() : context_(ZSTD_createDCtx()) {}
FrameReader::~FrameReader() { ZSTD_freeDCtx(context_); }

absl::StatusOr<std::string> FrameReader::Content(std::string_view payload, size_t max_bytes) {
  const unsigned long long size = ZSTD_getFrameContentSize(payload.data(), payload.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) return absl::DataLossError("not a zstd frame of known size");
  if (size > max_bytes) return absl::DataLossError(fmt::format("a frame claims {} bytes, at most {} are allowed", size, max_bytes));
  std::string content(size, '\0');
  const size_t n = ZSTD_decompressDCtx(context_, content.data(), content.size(), payload.data(), payload.size());
  if (ZSTD_isError(n)) return absl::DataLossError(fmt::format("cannot decompress a frame: {}", ZSTD_getErrorName(n)));
  if (n != size) return absl::DataLossError("a frame is shorter than it claims");
  return content;
}

}  // namespace outlier::recording
