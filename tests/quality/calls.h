// Durations of system calls in the buckets of the kernel's histograms: log-normal about a median, by a table look-up a call.
#pragma once
#include <array>
#include <cstdint>

#include "tests/quality/noise.h"
#include "userspace/stream/syscall_class.h"

namespace outlier::quality {

class DurationTables {
 public:
  static constexpr int kMedians = 80;  // eight an octave, from 2 us
  DurationTables();
  static double MedianNs(int median);
  // Empties a histogram of kDurationBuckets that held durations about this median, or up to kFarther buckets longer.
  void Clear(int median, float* counts) const;
  static constexpr int kFarther = 6;   // three octaves
  // Adds `calls` durations to it.
  void Add(int median, int calls, Random* random, float* counts) const;

 private:
  static constexpr int kBits = 10;
  std::array<std::array<uint8_t, 1 << kBits>, kMedians> bucket_;  // of equally likely durations
};

}  // namespace outlier::quality
