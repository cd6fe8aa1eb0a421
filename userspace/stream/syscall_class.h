// The syscall classes of `syscall.class`, in the order of every per-class array (bpf/abi.h has the same order).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace outlier {

enum class SyscallClass : uint8_t { kFile, kNetwork, kMemory, kProcess, kSync, kTime, kBlocking, kOther };
inline constexpr int kSyscallClasses = 8;
inline constexpr uint8_t kEverySyscallClass = 0xff;  // a bit each
static_assert(kSyscallClasses == 8);
inline constexpr std::array<std::string_view, kSyscallClasses> kSyscallClassNames = {
    "file", "network", "memory", "process", "sync", "time", "blocking", "other"};

// Log-linear duration buckets: two per octave from 512 ns; bucket 0 holds everything shorter, the last everything longer.
inline constexpr int kDurationBuckets = 52;
inline constexpr int kFirstDurationOctave = 9;  // 2^9 ns = 512 ns

// Lower edge of a bucket in nanoseconds: edge(0) = 0, edge(1) = 512, edge(2) = 768, edge(3) = 1024 ...
constexpr double DurationBucketLowerNs(int bucket) {
  if (bucket <= 0) return 0.0;
  const int octave = kFirstDurationOctave + (bucket - 1) / 2;
  const double base = static_cast<double>(uint64_t{1} << octave);
  return (bucket - 1) % 2 == 0 ? base : 1.5 * base;
}

}  // namespace outlier
