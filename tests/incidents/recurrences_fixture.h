// Shared by the tests of Recurrences: a host whose workloads depart as a test says, tick by tick.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "userspace/incidents/recurrences.h"

namespace outlier {

inline constexpr uint64_t kSecond = 1'000'000'000, kDay = 86'400 * kSecond;
inline constexpr double kNever = std::numeric_limits<double>::infinity();

class RecurrencesTest : public ::testing::Test {
 protected:
  RecurrencesTest() {
    recurrences_.Resize(2);
    for (size_t slot : {0, 1}) recurrences_.Forget(slot, now_ns_);
    counts_.fill(true);
  }
  static GroupStrengths Departs(double strength, bool up = true, EvidenceGroup group = EvidenceGroup::kCpu) {
    GroupStrengths now;
    now.strength[static_cast<int>(group)] = strength;
    now.up[static_cast<int>(group)] = up;
    return now;
  }
  // One tick of `seconds` on a host of `workloads`.
  double Tick(const GroupStrengths& now, double seconds = 1, size_t slot = 0) {
    now_ns_ += static_cast<uint64_t>(seconds * 1e9);
    recurrences_.Observe(slot, now, agree_, now_ns_);
    const double per_week = recurrences_.Issue(slot, now, counts_, now_ns_).per_week;
    recurrences_.EndTick(workloads_, seconds);
    return per_week;
  }
  void Calm(double seconds) {
    for (; seconds > 600; seconds -= 600) Tick({}, 600);
    Tick({}, seconds);
  }
  // Departs for some seconds, then is calm for a while. The lowest rate it was given.
  double Excursion(double strength, int seconds = 20, bool up = true, double calm = 300) {
    double rarest = kNever;
    for (int s = 0; s < seconds; ++s) rarest = std::min(rarest, Tick(Departs(strength, up)));
    Calm(calm);
    return rarest;
  }

  // One workload departs for 20 s and is calm for as long.
  double Once(size_t slot) {
    double rarest = kNever;
    for (int s = 0; s < 20; ++s) rarest = std::min(rarest, Tick(Departs(2), 1, slot));
    for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
    return rarest;
  }

  Recurrences recurrences_;
  std::array<bool, kEvidenceEntries> counts_;
  size_t workloads_ = 50;
  bool agree_ = true;
  uint64_t now_ns_ = kDay;
};

}  // namespace outlier
