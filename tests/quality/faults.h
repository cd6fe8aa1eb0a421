// Faults: what can be planted on one workload of a simulated host, beside everything that is healthy about it.
#pragma once
#include <cstdint>
#include <string_view>

#include "userspace/stream/workload.h"

namespace outlier::quality {

enum class FaultKind {
  kStep,         // one series is `size` sd higher
  kRamp,         // the same, reached evenly over the fault's time
  kLeak,         // a ramp of memory, slow
  kVariance,     // one series strays `size` times as far
  kTogether,     // CPU, switches and calls rise to `size` times, at once
  kSilence,      // nothing is done any more; memory stays
  kRhythm,       // a periodic job comes each other time only: worlds of periodic jobs
  kSecondMode,   // a share `size` of the calls of one class takes eight times as long
  kCountBurst,   // errors: `size` more a second, Poisson
  kCorrelation,  // two series that moved together move against each other, each as far as before
};
inline constexpr int kFaultKinds = 10;
std::string_view NameOf(FaultKind kind);

struct Fault {
  FaultKind kind = FaultKind::kStep;
  Slot slot = 0;
  int feature = 0;          // where one series is meant
  double size = 10;
  uint64_t begin = 0;       // tick
  uint64_t seconds = 600;
  bool ActiveAt(uint64_t tick) const { return tick >= begin && tick < begin + seconds; }
  // In (0, 1]: how much of it is there.
  double ShareAt(uint64_t tick) const {
    const bool grows = kind == FaultKind::kRamp || kind == FaultKind::kLeak;
    return grows ? static_cast<double>(tick + 1 - begin) / static_cast<double>(seconds) : 1.0;
  }
};

}  // namespace outlier::quality
