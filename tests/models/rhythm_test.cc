// rhythm: a job that fails to come is found, one that comes is not, and neither is what has no rhythm.
#include <gtest/gtest.h>

#include <random>

#include "tests/models/world.h"

namespace outlier::models {
namespace {

constexpr double kClear = 7.0;  // |z| that is evidence by itself

class RhythmTest : public testing::Test {
 protected:
  RhythmTest() : watch_("rhythm", Floor()) {}
  static Options Floor() {
    Options options;
    options.prior.scale_floor = 5.0;
    return options;
  }
  double Noise() { return normal_(random_); }
  // Ticks of a job of `length` each `period`, of which `comes(n)` says whether the n-th does; the worst |z|.
  double Run(int ticks, int period, int length, const std::function<bool(int)>& comes, int jitter = 0) {
    double worst = 0;
    for (int t = 0; t < ticks; ++t, ++at_) {
      const int n = at_ / period;
      if (at_ % period == 0) shift_ = jitter > 0 ? static_cast<int>(random_() % static_cast<unsigned>(jitter)) : 0;
      const int of_job = at_ % period - shift_;
      const bool works = of_job >= 0 && of_job < length && comes(n);
      worst = std::max(worst, std::abs(watch_.Tick(std::max(0.0, (works ? 200.0 : 20.0) + 2 * Noise())).z));
    }
    return worst;
  }
  static bool Always(int) { return true; }

  Watch watch_;
  std::mt19937_64 random_{1};
  std::normal_distribution<double> normal_;
  int at_ = 0, shift_ = 0;
};

TEST_F(RhythmTest, FindsAJobOfFiveMinutesThatDoesNotComeBeforeItsNextTime) {
  EXPECT_LT(Run(3600, 300, 20, Always), 1.0);
  EXPECT_GE(Run(600, 300, 20, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, FindsOneThatComesEachOtherTimeOnly) {
  Run(3600, 300, 20, Always);
  EXPECT_GE(Run(3600, 300, 20, [](int n) { return n % 2 == 0; }), kClear);
}

TEST_F(RhythmTest, FindsANightlyJobThatDoesNotComeWithinTheHour) {
  EXPECT_LT(Run(7 * 86400, 86400, 600, Always), 1.0);
  EXPECT_LT(Run(600, 86400, 600, [](int) { return false; }), kClear) << "it may be late";
  EXPECT_GE(Run(6 * 3600, 86400, 600, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, IsPatientWithOneThatComesNowAndThenALittleLater) {
  EXPECT_LT(Run(40 * 300, 300, 20, Always, 30), kClear);
  EXPECT_GE(Run(900, 300, 20, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, GivesARhythmUpThatIsNoMoreAndLearnsTheNext) {
  Run(3600, 300, 20, Always);
  Run(1800, 300, 20, [](int) { return false; });
  EXPECT_EQ(watch_.Ask(20).z, 0.0);
  Run(8 * 700, 700, 20, Always);
  EXPECT_GE(Run(1400, 700, 20, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, CountsTheTimeInWhichNobodyRan) {
  Run(3600, 300, 20, Always);
  for (int t = 0; t < 400; ++t) watch_.Gap();
  EXPECT_GE(std::abs(watch_.Tick(20).z), kClear);
}

TEST_F(RhythmTest, IsPatientWithAJobOfTheClockWhenNobodyWatchedForHours) {
  Run(12 * 300 + 240, 300, 20, Always);
  watch_.Skip(4 * 3600 - 60);
  at_ += 4 * 3600 - 60;  // four minutes after it came, then three: by the ticks it is late
  EXPECT_LT(Run(3600, 300, 20, Always), 1.0);
  EXPECT_GE(Run(600, 300, 20, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, LosesNoTimeToTicksThatWereMissedNowAndThen) {
  for (int hour = 0; hour < 60; ++hour) {
    Run(3540, 20'000, 20, Always);
    watch_.Skip(60);
    at_ += 60;
  }
  EXPECT_GE(Run(30'000, 20'000, 20, [](int) { return false; }), kClear);
}

TEST_F(RhythmTest, FindsAJobThatDidNotComeSinceNobodyWatched) {
  Run(12 * 300 + 240, 300, 20, Always);
  watch_.Skip(3600);
  at_ += 3600;
  EXPECT_GE(Run(600, 300, 20, [](int) { return false; }), kClear);
}

// Phases of exponential length, as most of what workloads do now and then: 20,000 of them.
TEST(Rhythm, SeesNoneInWhatComesByChance) {
  std::mt19937_64 random(2);
  std::exponential_distribution<double> gap(1.0 / 120);
  Options options;
  options.prior.scale_floor = 5.0;
  int alarms = 0, late = 0, beats = 0;
  for (int series = 0; series < 20; ++series) {
    Watch watch("rhythm", options);
    for (int n = 0; n < 1000; ++n, ++beats) {
      const int quiet = 6 + static_cast<int>(gap(random));
      for (int t = 0; t < quiet + 10; ++t) {
        const Verdict v = watch.Tick(t < quiet ? 20 : 200);
        late += v.z < 0;
        alarms += v.z <= -kClear;
      }
    }
  }
  EXPECT_LE(late, beats / 10) << "ticks";
  EXPECT_EQ(alarms, 0);
}

TEST(Rhythm, SaysNothingOfOneThatNeverRests) {
  Options options;
  options.prior.scale_floor = 5.0;
  Watch watch("rhythm", options);
  for (int t = 0; t < 5000; ++t) EXPECT_EQ(watch.Tick(100 + t % 7).z, 0.0);
}

}  // namespace
}  // namespace outlier::models
