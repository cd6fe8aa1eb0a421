// What the hour of the day and the day of the week bring is usual, and nobody has to have watched all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/models/world.h"

namespace outlier::models {
namespace {

// Six hours in which nobody watched: the hour of the day goes on.
class DailyProfile : public testing::TestWithParam<const char*> {
 protected:
  // The worst |z| of the two hours after a gap of six, in which the models are told of it or not.
  static double WorstAfterTheGap(bool told) {
    Options options = WarmUp45();
    options.tick_seconds = 60;
    Watch watch(GetParam(), options);
    Noise noise(5);
    constexpr int kDay = 1440, kLearned = 10 * kDay, kGap = 360, kAfter = 120;
    double worst = 0;
    for (int t = 0; t < kLearned + kGap + kAfter; ++t) {
      if (t == kLearned && told) watch.Skip(kGap);
      if (t >= kLearned && t < kLearned + kGap) continue;
      const double z = watch.Tick(50 + 20 * std::sin(2 * M_PI * t / kDay) + noise()).z;
      if (t >= kLearned) worst = std::max(worst, std::abs(z));
    }
    return worst;
  }
};

TEST_P(DailyProfile, KeepsItsHoursThroughAGapThatItIsToldOf) { EXPECT_LT(WorstAfterTheGap(true), WorstAfterTheGap(false) / 2); }

INSTANTIATE_TEST_SUITE_P(Families, DailyProfile, testing::Values("held_level", "seasonal_level"));

// Work from nine to five, at weekends none: a Monday is what a Tuesday is not, until the week is known.
class WeeklyProfile : public testing::TestWithParam<const char*> {};

TEST_P(WeeklyProfile, KnowsMondaysAfterTwoWeeks) {
  constexpr int kDay = 1440, kWeek = 7 * kDay, kWeeks = 6, kSeeds = 8;
  Options options = WarmUp45(0.05);
  options.tick_seconds = 60;
  double second = 0, later = 0;  // the worst |z| of Mondays, on average
  for (int seed = 0; seed < kSeeds; ++seed) {
    Watch watch(GetParam(), options);
    Noise noise(seed);
    double wanders = 0;
    for (int week = 0; week < kWeeks; ++week) {
      double worst = 0;
      for (int t = 0; t < kWeek; ++t) {
        wanders = 0.95 * wanders + 0.05 * noise();
        const int first_seen = 60 * 3 * seed, minute = (t + first_seen) % kDay, day = (t + first_seen) / kDay % 7;
        const bool works = day < 5 && minute >= 9 * 60 && minute < 17 * 60;
        const double z = std::abs(watch.Tick(4 + (works ? 1.5 : 0) + wanders + 0.05 * noise()).z);
        if (day == 0) worst = std::max(worst, z);
      }
      if (week == 1) second += worst / kSeeds;
      if (week >= 3) later += worst / (kSeeds * (kWeeks - 3));
    }
  }
  EXPECT_GT(second, 3.0);
  EXPECT_LT(later, 0.8 * second);
}

INSTANTIATE_TEST_SUITE_P(Families, WeeklyProfile, testing::Values("held_level", "seasonal_level"));

}  // namespace
}  // namespace outlier::models
