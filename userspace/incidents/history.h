// History: the last minute of every feature, for dating onsets and for people who ask what a number was.
#pragma once
#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "userspace/base/archive.h"
#include "userspace/stream/feature.h"

namespace outlier {

class History {
 public:
  static constexpr int kTicks = 64;  // enough to date what a detector may take a minute to see

  explicit History(int features) : features_(features) {}
  void Append(const FeatureTick& tick, uint64_t boot_time_ns, int64_t wall_time_ns);

  int length() const { return static_cast<int>(times_.size()); }
  // Age 0 is the newest tick. Absent values are std::nullopt.
  std::optional<double> Value(int slot, int feature, int age) const;
  uint64_t BootTime(int age) const { return times_[times_.size() - 1 - age]; }
  int64_t WallTime(int age) const { return walls_[walls_.size() - 1 - age]; }
  uint64_t UsualTick() const;  // ns, the median; 0 of fewer than two
  // Wall time of a moment since boot, by the newest pair of clocks.
  int64_t WallTimeOf(uint64_t boot_time_ns) const;

  template <class Archive>
  void Serialize(Archive& a) {
    if constexpr (Archive::kReading) {
      if (a.layout() < kByTickFrom) {
        Eigen::ArrayXXf values;
        Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic> present;
        a(values, present, times_, walls_, next_);
        if (!TakeBySlot(values, present)) a.Fail();
        return;
      }
    }
    a(ring_, times_, walls_, next_);
    if constexpr (Archive::kReading) {
      Widen();
      if (!IsSound()) a.Fail();
    }
  }

 private:
  static constexpr uint32_t kByTickFrom = 5;  // layout of the engine's state
  bool TakeBySlot(const Eigen::ArrayXXf& values, const Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic>& present);
  void Widen();
  bool IsSound() const;

  int features_;
  std::array<Eigen::ArrayXXf, kTicks> ring_;  // a tick: [slots of that tick x features], NaN = absent
  std::vector<uint64_t> times_;               // oldest first
  std::vector<int64_t> walls_;
  uint32_t next_ = 0;                         // ring position of the next tick
};

}  // namespace outlier
