#include "userspace/probes/proc_starts.h"

namespace outlier {

void ProcStarts::Follow(uint64_t forks, const std::vector<ProcessSample>& processes) {
  next_.clear();
  uint64_t met = 0;
  size_t k = 0;
  for (const ProcessSample& process : processes) {
    while (k < threads_.size() && threads_[k].first < process.key) ++k;
    const bool known = k < threads_.size() && threads_[k].first == process.key;
    const uint32_t before = known ? threads_[k].second : 0;
    if (process.threads > before) met += process.threads - before;
    next_.emplace_back(process.key, process.threads);
  }
  threads_.swap(next_);
  if (!first_ && forks >= forks_) {
    open_ += static_cast<int64_t>(forks - forks_) - static_cast<int64_t>(met);
    if (open_ > 0) {
      not_seen_ += static_cast<uint64_t>(open_);
      open_ = 0;
    }
  }
  first_ = false;
  forks_ = forks;
}

}  // namespace outlier
