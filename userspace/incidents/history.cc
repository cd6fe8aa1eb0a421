#include "userspace/incidents/history.h"

namespace outlier {

void History::Append(const FeatureTick& tick, uint64_t boot_time_ns, int64_t wall_time_ns) {
  const Eigen::Index slots = tick.values.rows(), rows = Eigen::Index{kTicks} * features_, had = values_.cols();
  if (slots > had) {
    // Half as much again: growth is rare, and copies are not.
    const Eigen::Index capacity = slots + slots / 2 + 8;
    values_.conservativeResize(rows, capacity);
    present_.conservativeResize(rows, capacity);
    values_.rightCols(capacity - had).setZero();
    present_.rightCols(capacity - had).setConstant(false);
  }
  for (Eigen::Index slot = 0; slot < slots; ++slot) {
    if (tick.born(slot)) present_.col(slot).setConstant(false);
    for (int f = 0; f < features_; ++f) {
      values_(f * kTicks + next_, slot) = static_cast<float>(tick.values(slot, f));
      present_(f * kTicks + next_, slot) = tick.present(slot, f);
    }
  }
  next_ = (next_ + 1) % kTicks;
  times_.push_back(boot_time_ns);
  walls_.push_back(wall_time_ns);
  if (times_.size() > kTicks) {
    times_.erase(times_.begin());
    walls_.erase(walls_.begin());
  }
}

std::optional<double> History::Value(int slot, int feature, int age) const {
  if (age < 0 || age >= length() || slot >= values_.cols()) return std::nullopt;
  const int row = feature * kTicks + static_cast<int>((next_ + kTicks - 1 - age) % kTicks);
  if (!present_(row, slot)) return std::nullopt;
  return values_(row, slot);
}

int64_t History::WallTimeOf(uint64_t boot_time_ns) const {
  if (times_.empty()) return 0;
  return walls_.back() - (static_cast<int64_t>(times_.back()) - static_cast<int64_t>(boot_time_ns));
}

}  // namespace outlier
