#include "userspace/incidents/history.h"

#include <algorithm>

namespace outlier {

void History::Append(const FeatureTick& tick, uint64_t boot_time_ns, int64_t wall_time_ns) {
  const Eigen::Index slots = tick.values.rows(), rows = features_, had = values_.cols() / kTicks;
  if (slots > had) {
    // Half as much again: growth is rare, and copies are not.
    const Eigen::Index capacity = slots + slots / 2 + 8;
    values_.conservativeResize(rows, capacity * kTicks);
    present_.conservativeResize(rows, capacity * kTicks);
    values_.rightCols((capacity - had) * kTicks).setZero();
    present_.rightCols((capacity - had) * kTicks).setConstant(false);
  }
  // A few slots at a time, because the tick lies by feature and the past by slot.
  constexpr Eigen::Index kTile = 8;
  for (Eigen::Index first = 0; first < slots; first += kTile) {
    const Eigen::Index end = std::min(first + kTile, slots);
    for (Eigen::Index slot = first; slot < end; ++slot) {
      if (tick.born(slot)) present_.middleCols(slot * kTicks, kTicks).setConstant(false);
    }
    for (Eigen::Index f = 0; f < rows; ++f) {
      for (Eigen::Index slot = first; slot < end; ++slot) {
        values_(f, slot * kTicks + next_) = static_cast<float>(tick.values(slot, f));
        present_(f, slot * kTicks + next_) = tick.present(slot, f);
      }
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
  if (age < 0 || age >= length() || slot >= values_.cols() / kTicks) return std::nullopt;
  const Eigen::Index column = Eigen::Index{slot} * kTicks + (next_ + kTicks - 1 - age) % kTicks;
  if (!present_(feature, column)) return std::nullopt;
  return values_(feature, column);
}

int64_t History::WallTimeOf(uint64_t boot_time_ns) const {
  if (times_.empty()) return 0;
  return walls_.back() - (static_cast<int64_t>(times_.back()) - static_cast<int64_t>(boot_time_ns));
}

}  // namespace outlier
