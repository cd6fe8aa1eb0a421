#include "userspace/incidents/history.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace outlier {
namespace {

constexpr float kAbsent = std::numeric_limits<float>::quiet_NaN();

}  // namespace

void History::Append(const FeatureTick& tick, uint64_t boot_time_ns, int64_t wall_time_ns) {
  for (Eigen::Index slot = 0; slot < tick.born.size(); ++slot) {
    if (!tick.born(slot)) continue;  // whose past is another's
    for (Eigen::ArrayXXf& values : ring_) {
      if (slot < values.rows()) values.row(slot).setConstant(kAbsent);
    }
  }
  Eigen::ArrayXXf& values = ring_[next_];
  values = tick.values.cast<float>();
  // Eight flags at a time, since nearly all of a feature are alike.
  constexpr Eigen::Index kFlags = 8;
  constexpr bool kAll[kFlags] = {true, true, true, true, true, true, true, true};
  const Eigen::Index cells = values.size();
  const bool* present = tick.present.data();
  for (Eigen::Index begin = 0; begin < cells; begin += kFlags) {
    const Eigen::Index end = std::min(begin + kFlags, cells);
    if (end - begin == kFlags && std::memcmp(present + begin, kAll, kFlags) == 0) continue;
    for (Eigen::Index cell = begin; cell < end; ++cell) values.data()[cell] = present[cell] ? values.data()[cell] : kAbsent;
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
  if (age < 0 || age >= length()) return std::nullopt;
  const Eigen::ArrayXXf& values = ring_[(next_ + kTicks - 1 - age) % kTicks];
  if (slot >= values.rows() || std::isnan(values(slot, feature))) return std::nullopt;
  return values(slot, feature);
}

int64_t History::WallTimeOf(uint64_t boot_time_ns) const {
  if (times_.empty()) return 0;
  return walls_.back() - (static_cast<int64_t>(times_.back()) - static_cast<int64_t>(boot_time_ns));
}

// Layouts before 5: a slot's minute together, [features x slots * kTicks].
bool History::TakeBySlot(const Eigen::ArrayXXf& values, const Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic>& present) {
  if (values.rows() != present.rows() || values.cols() != present.cols() || (values.cols() > 0 && values.rows() != features_)) return false;
  const Eigen::Index slots = values.cols() / kTicks;
  for (int t = 0; t < kTicks; ++t) {
    ring_[t].setConstant(slots, features_, kAbsent);
    for (Eigen::Index slot = 0; slot < slots; ++slot) {
      for (int f = 0; f < features_; ++f) {
        if (present(f, slot * kTicks + t)) ring_[t](slot, f) = values(f, slot * kTicks + t);
      }
    }
  }
  return IsSound();
}

bool History::IsSound() const {
  bool sound = next_ < kTicks && times_.size() <= kTicks && walls_.size() == times_.size();
  for (const Eigen::ArrayXXf& values : ring_) sound &= values.rows() == 0 || values.cols() == features_;
  return sound;
}

}  // namespace outlier
