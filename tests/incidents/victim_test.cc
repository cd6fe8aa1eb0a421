// Who waits since a known moment, and who always did.
#include "userspace/incidents/victim.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr int kSlot = 1, kFeature = 2;

class VictimTest : public testing::Test {
 protected:
  // One more second in which it waited so long; NaN = it was not there.
  void Wait(double seconds) {
    FeatureTick tick;
    tick.values.setZero(3, 4);
    tick.present.setConstant(3, 4, true);
    tick.born.setConstant(3, 1, false);
    tick.values(kSlot, kFeature) = std::isnan(seconds) ? 0.0 : seconds;
    tick.present(kSlot, kFeature) = !std::isnan(seconds);
    now_ns_ += kSecond;
    history_.Append(tick, now_ns_, static_cast<int64_t>(now_ns_));
  }
  void Wait(int ticks, double from, double to) {
    for (int i = 0; i < ticks; ++i) Wait(std::uniform_real_distribution<double>(from, to)(random_));
  }
  std::optional<Peak> Since(uint64_t onset_ns) const { return WaitsSince(history_, kSlot, kFeature, onset_ns); }

  History history_{4};
  uint64_t now_ns_ = 1000 * kSecond;
  std::mt19937 random_{1};
};

TEST_F(VictimTest, WaitsHalfAsLongAgainAsEverInTheHalfMinuteBefore) {
  Wait(40, 0.06, 0.115);
  const uint64_t onset_ns = now_ns_;
  Wait(5, 0.19, 0.21);
  const std::optional<Peak> peak = Since(onset_ns);
  ASSERT_TRUE(peak);
  EXPECT_EQ(peak->feature, kFeature);
  EXPECT_GE(peak->observed, 0.19);
  EXPECT_LE(peak->upper, 0.115);
  EXPECT_GE(peak->lower, 0.06);
  EXPECT_NEAR(peak->tail_probability, 1 / 324632.0, 1e-9) << "one of the ways to choose five of 35";
  EXPECT_NEAR(peak->z, 4.52, 0.05) << "the normal deviate of that probability";
}

TEST_F(VictimTest, IsNobodyWhoWaitedAsLongOnceBefore) {
  Wait(30, 0.06, 0.115);
  Wait(0.15);
  Wait(5, 0.06, 0.115);
  const uint64_t onset_ns = now_ns_;
  Wait(5, 0.19, 0.21);
  EXPECT_FALSE(Since(onset_ns));
}

TEST_F(VictimTest, IsNobodyWhoWaitsNoLongerAsSoonAsOneValueSaysSo) {
  Wait(40, 0.01, 0.02);
  const uint64_t onset_ns = now_ns_;
  Wait(4, 0.19, 0.21);
  EXPECT_FALSE(Since(onset_ns)) << "four values are not enough";
  Wait(0.02);
  EXPECT_FALSE(Since(onset_ns));
}

TEST_F(VictimTest, IsNobodyWhoHardlyWaits) {
  Wait(40, 0.0, 0.001);
  const uint64_t onset_ns = now_ns_;
  Wait(5, 0.03, 0.04);
  EXPECT_FALSE(Since(onset_ns)) << "many times as long, and nothing to speak of";
}

TEST_F(VictimTest, IsNobodyWhoWasNotThereBefore) {
  for (int i = 0; i < 26; ++i) Wait(std::nan(""));
  Wait(14, 0.01, 0.02);
  const uint64_t onset_ns = now_ns_;
  Wait(5, 0.19, 0.21);
  EXPECT_FALSE(Since(onset_ns));
}

}  // namespace
}  // namespace outlier
