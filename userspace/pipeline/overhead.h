// Overhead: what the daemon itself costs, measured from outside of it.
#pragma once
#include <cstdint>

#include "outlier/v1/feed.pb.h"

namespace outlier {

class OverheadMeter {
 public:
  // Once a tick. `boot_time_ns` is the tick's.
  void Measure(uint64_t boot_time_ns);
  double cpu_own_percent() const { return cpu_percent_; }  // of one core, mean over about the last minute
  uint64_t resident_set_bytes() const { return resident_; }

 private:
  uint64_t last_time_ns_ = 0;
  uint64_t last_cpu_ns_ = 0;
  double cpu_percent_ = 0;
  uint64_t resident_ = 0;
  uint32_t measured_ = 0;
};

}  // namespace outlier
