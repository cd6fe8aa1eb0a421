#include "tests/quality/faults.h"

namespace outlier::quality {

std::string_view NameOf(FaultKind kind) {
  static constexpr std::string_view kNames[kFaultKinds] = {"step", "ramp", "leak", "variance", "together", "silence", "rhythm", "second-mode",
                                                           "count-burst", "correlation"};
  return kNames[static_cast<int>(kind)];
}

}  // namespace outlier::quality
