// ProcStarts counts what polling cannot show: the kernel's own count of forks and clones, less the processes and threads that
// a scan met. They belong to nobody: /proc does not say who began them. Not thread-safe.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

class ProcStarts {
 public:
  // `forks`: `processes` of /proc/stat, read before `processes` was (ordered by key). The first call counts nothing.
  void Follow(uint64_t forks, const std::vector<ProcessSample>& processes);
  // Cumulative.
  uint64_t not_seen() const { return not_seen_; }

 private:
  bool first_ = true;
  uint64_t forks_ = 0;
  int64_t open_ = 0;  // started but not met; negative: met after the count was read, and so in the next one
  uint64_t not_seen_ = 0;
  std::vector<std::pair<ProcessKey, uint32_t>> threads_, next_;  // of the last scan
};

}  // namespace outlier
