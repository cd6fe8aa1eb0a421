#include "userspace/recorder/segment_name.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include "userspace/base/file.h"

namespace outlier::recording {
namespace {

constexpr std::string_view kExtension = ".outlier-recording";
constexpr std::string_view kUnfinished = ".tmp";
constexpr size_t kDigits = 20;

}  // namespace

std::string SegmentPath(const std::string& directory, uint64_t first_tick) {
  return fmt::format("{}/{:020}{}", directory, first_tick, kExtension);
}

std::string UnfinishedPath(const std::string& segment_path) { return segment_path + std::string(kUnfinished); }

void RemoveUnfinishedSegments(const std::string& directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator entries(directory, error), end; !error && entries != end; entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    std::error_code ignored;  // a leftover costs space, nothing else
    if (name.ends_with(std::string(kExtension) + std::string(kUnfinished))) std::filesystem::remove(entries->path(), ignored);
  }
}

absl::StatusOr<std::vector<SegmentFile>> ListSegments(const std::string& directory) {
  std::vector<SegmentFile> segments;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  if (error) return ErrnoStatus("list recordings in", directory, error.value());
  for (const auto end = std::filesystem::directory_iterator(); entries != end; entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.size() != kDigits + kExtension.size() || !name.ends_with(kExtension)) continue;
    SegmentFile segment{.path = entries->path().string()};
    const auto parsed = std::from_chars(name.data(), name.data() + kDigits, segment.first_tick);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + kDigits || segment.first_tick == 0) continue;
    std::error_code size_error;
    segment.bytes = entries->file_size(size_error);
    if (!size_error) segments.push_back(std::move(segment));
  }
  if (error) return ErrnoStatus("list recordings in", directory, error.value());
  std::sort(segments.begin(), segments.end(), [](const auto& a, const auto& b) { return a.first_tick < b.first_tick; });
  return segments;
}

}  // namespace outlier::recording
