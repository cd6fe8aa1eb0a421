#include "userspace/incidents/history.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace outlier {
namespace {

constexpr float kAbsent = std::numeric_limits<float>::quiet_NaN();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kAllAbsent[] = {kNaN, kNaN, kNaN, kNaN};

// Four numbers to where they are not read for a minute, if ever: past the caches, which the models need. `to` is aligned as Eigen does it.
inline void StoreAside(const double* from, float* to) {
#ifdef __SSE2__
  const __m128 low = _mm_cvtpd_ps(_mm_loadu_pd(from)), high = _mm_cvtpd_ps(_mm_loadu_pd(from + 2));
  _mm_stream_ps(to, _mm_movelh_ps(low, high));
#else
  for (int k = 0; k < 4; ++k) to[k] = static_cast<float>(from[k]);
#endif
}

}  // namespace

void History::Append(const FeatureTick& tick, uint64_t boot_time_ns, int64_t wall_time_ns) {
  for (Eigen::Index slot = 0; slot < tick.born.size(); ++slot) {
    if (!tick.born(slot)) continue;  // whose past is another's
    for (Eigen::ArrayXXf& values : ring_) {
      if (slot < values.rows()) values.row(slot).setConstant(kAbsent);
    }
  }
  Eigen::ArrayXXf& values = ring_[next_];
  values.resize(tick.values.rows(), tick.values.cols());
  // Eight cells at a time, since nearly all of a feature are alike.
  constexpr Eigen::Index kCells = 8;
  constexpr bool kAll[kCells] = {true, true, true, true, true, true, true, true}, kNone[kCells] = {};
  const Eigen::Index cells = values.size();
  const bool* present = tick.present.data();
  const double* from = tick.values.data();
  float* to = values.data();
  Eigen::Index cell = 0;
  for (; cell + kCells <= cells; cell += kCells) {
    if (std::memcmp(present + cell, kAll, kCells) == 0) {
      for (Eigen::Index k = 0; k < kCells; k += 4) StoreAside(from + cell + k, to + cell + k);
    } else if (std::memcmp(present + cell, kNone, kCells) == 0) {
      for (Eigen::Index k = 0; k < kCells; k += 4) StoreAside(kAllAbsent, to + cell + k);
    } else {
      for (Eigen::Index k = cell; k < cell + kCells; ++k) to[k] = present[k] ? static_cast<float>(from[k]) : kAbsent;
    }
  }
  for (; cell < cells; ++cell) to[cell] = present[cell] ? static_cast<float>(from[cell]) : kAbsent;
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

uint64_t History::UsualTick() const {
  std::vector<uint64_t> ticks;
  for (size_t i = 1; i < times_.size(); ++i) {
    if (times_[i] > times_[i - 1]) ticks.push_back(times_[i] - times_[i - 1]);  // else booted between
  }
  if (ticks.empty()) return 0;
  std::nth_element(ticks.begin(), ticks.begin() + static_cast<std::ptrdiff_t>(ticks.size() / 2), ticks.end());
  return ticks[ticks.size() / 2];
}

int64_t History::WallTimeOf(uint64_t boot_time_ns) const {
  if (times_.empty()) return 0;
  return walls_.back() - (static_cast<int64_t>(times_.back()) - static_cast<int64_t>(boot_time_ns));
}

// Layouts before 5: a slot's minute together, [features x slots * kTicks].
bool History::TakeBySlot(const Eigen::ArrayXXf& values, const Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic>& present) {
  if (values.rows() != present.rows() || values.cols() != present.cols() || (values.cols() > 0 && values.rows() > features_)) return false;
  const Eigen::Index slots = values.cols() / kTicks;
  for (int t = 0; t < kTicks; ++t) {
    ring_[t].setConstant(slots, features_, kAbsent);
    for (Eigen::Index slot = 0; slot < slots; ++slot) {
      for (Eigen::Index f = 0; f < values.rows(); ++f) {
        if (present(f, slot * kTicks + t)) ring_[t](slot, f) = values(f, slot * kTicks + t);
      }
    }
  }
  return IsSound();
}

// A build with fewer features wrote it: new ones are appended.
void History::Widen() {
  for (Eigen::ArrayXXf& values : ring_) {
    const Eigen::Index had = values.cols();
    if (values.rows() == 0 || had >= features_) continue;
    values.conservativeResize(values.rows(), features_);
    values.rightCols(features_ - had).setConstant(kAbsent);
  }
}

bool History::IsSound() const {
  bool sound = next_ < kTicks && times_.size() <= kTicks && walls_.size() == times_.size();
  for (const Eigen::ArrayXXf& values : ring_) sound &= values.rows() == 0 || values.cols() == features_;
  return sound;
}

}  // namespace outlier
