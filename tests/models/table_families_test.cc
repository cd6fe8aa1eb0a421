// The laws that seasonal_level, step, mahalanobis, LaneTail and their winsorised spread name in their headers.
#include <gtest/gtest.h>

#include "models/special.h"
#include "models/innovation.h"
#include "tests/models/world.h"

namespace outlier::models {
using namespace four;
namespace {

Options Hosts() {
  Options options;
  options.tick_seconds = 60;
  options.half_life_seconds = 16 * 86400.0;
  options.warm_up_seconds = 3600;
  options.prior.scale_floor = 1e-6;
  return options;
}

// One of four lanes is looked at; the others hold what is never asked for.
constexpr int kLane = 2;

LaneTail Narrow(const Tail& tail) {
  LaneTail out{};
  out.Begin(kLane, tail);
  return out;
}

double ProbabilityOf(const LaneTail& tail, double a) {
  return a > tail.hundredth[kLane] ? tail.At(kLane).Probability(a, 0.25)
                                   : LaneTail::Probability(tail.Deviate(AllLanes(static_cast<float>(a))))[kLane];
}

void Learn(double a, double gain, LaneTail* tail) {
  tail->Learn(AllLanes(static_cast<float>(a)), AllLanes(static_cast<float>(gain)));
}

TEST(LaneTail, IsTheLawOfTailInBodyTailAndLearning) {
  std::mt19937_64 random(1);
  Tail wide = Tail::Prior(0.25);
  LaneTail narrow = Narrow(wide);
  for (int t = 0; t < 20000; ++t) {
    const double a = std::abs(std::student_t_distribution<double>(5)(random));
    if (t % 50 == 0) {
      for (double probe = 0.0; probe < 30; probe += 0.37) {
        ASSERT_NEAR(ProbabilityOf(narrow, probe), wide.Probability(probe, 0.25), 2e-4 + 0.02 * wide.Probability(probe, 0.25));
      }
    }
    wide.Learn(a, 1e-3);
    Learn(a, 1e-3, &narrow);
  }
  EXPECT_NEAR(narrow.hundredth[kLane], wide.hundredth, 0.01 * wide.hundredth);
}

TEST(LaneTail, BodyIsTheNormalTailToAMillionthAndNeverRises) {
  const LaneTail tail = Narrow(Tail::Prior(0.25));
  double before = 1.0;
  for (double a = 0.0; a < 2.6; a += 1e-4) {
    const double p = ProbabilityOf(tail, a);
    EXPECT_NEAR(p, NormalTwoSidedTail(a), 1.5e-6 + (a > 2.575 ? 2e-4 : 0.0)) << a;
    EXPECT_LE(p, before) << a;
    before = p;
  }
  EXPECT_EQ(ProbabilityOf(tail, 0.0), 1.0);
}

TEST(LaneTail, LearnsAtItsLeastGainInSinglePrecisionAndNothingAtNone) {
  std::mt19937_64 random(2);
  LaneTail tail = Narrow(Tail::Prior(0.25));
  for (int t = 0; t < 1000; ++t) Learn(t % 10, 0.0, &tail);
  EXPECT_EQ(tail.half[kLane], Narrow(Tail::Prior(0.25)).half[kLane]);
  EXPECT_EQ(tail.excess[kLane], Narrow(Tail::Prior(0.25)).excess[kLane]);
  // Twice as wide as the prior believes: every quantile has to move.
  for (int t = 0; t < 2000000; ++t) Learn(2.0 * std::abs(std::normal_distribution<double>()(random)), LaneTail::kLeastGain, &tail);
  EXPECT_NEAR(tail.half[kLane], 2 * 0.6745, 0.1);
  EXPECT_NEAR(tail.tenth[kLane], 2 * 1.645, 0.2);
  EXPECT_NEAR(tail.hundredth[kLane], 2 * 2.576, 0.4);
}

TEST(Innovation, SpreadFollowsAtItsLeastGainInSinglePrecisionUpAndDown) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  for (const float start : {0.25f, 4.0f}) {
    Lanes spread = AllLanes(start);
    for (int t = 0; t < 2000000; ++t) {
      spread = Innovation::Of(AllLanes(static_cast<float>(normal(random))), spread, AllLanes(1e-9f)).Spread(AllLanes(1e-9f));
    }
    EXPECT_NEAR(spread[kLane], 1.0, 0.03);  // a Gaussian winsorised at 3 sd loses .4 % of its deviation
  }
}

TEST(Innovation, SpreadOverflowsAndVanishesNowhere) {
  for (const float x : {0.0f, 1e-38f, 1e-20f, 1e20f, static_cast<float>(kMostValue)}) {
    Lanes spread = AllLanes(0.0f);
    for (int t = 0; t < 3000; ++t) {
      const Innovation i = Innovation::Of(AllLanes(x), spread, AllLanes(kLeastScale));
      ASSERT_LE(std::abs(i.z[kLane]), kMostZ);
      spread = i.Spread(AllLanes(1.0f / 3.0f));
      ASSERT_TRUE(std::isfinite(spread[kLane]) && spread[kLane] >= kLeastScale) << x;
    }
    EXPECT_NEAR(spread[kLane], std::max(x, 0.0f) > 1e-25f ? 0.82 * x : spread[kLane], 0.01 * x);
  }
}

// Correlated numbers of one group.
Eigen::ArrayXXd Group(std::mt19937_64& random, int width) {
  std::normal_distribution<double> normal;
  Eigen::ArrayXXd x(width, 1);
  const double common = normal(random);
  for (int k = 0; k < width; ++k) x(k, 0) = 0.9 * common + 0.4 * normal(random);
  return x;
}

TEST(Mahalanobis, FindsNumbersThatPartCompanyThoughEachIsUsual) {
  Options options = Hosts();
  options.width = 6;
  std::mt19937_64 random(4);
  Watch watch("mahalanobis", options);
  for (int t = 0; t < 5000; ++t) watch.Tick(Group(random, 6));
  Eigen::ArrayXXd together = Eigen::ArrayXXd::Constant(6, 1, 1.5), apart = together;
  apart.bottomRows(3) *= -1;
  EXPECT_GT(watch.Tick(together).p, 0.05);
  EXPECT_LT(watch.Tick(apart).p, 5e-3);
}

TEST(Mahalanobis, EqualsTheQuadraticFormOfTheInverse) {
  // After long learning of independent unit numbers S is near 1.16 I: d = 1.2 |x| / sqrt(1.16 k).
  Options options = Hosts();
  options.width = 4;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  Watch watch("mahalanobis", options);
  for (int t = 0; t < 20000; ++t) watch.Tick(Eigen::ArrayXXd::NullaryExpr(4, 1, [&] { return normal(random); }));
  const Verdict v = watch.Tick(Eigen::ArrayXXd::Constant(4, 1, 2.0));
  EXPECT_NEAR(v.z, 1.2 * 2.0 / std::sqrt(1.16), 0.15);
}

double Daily(int minute) { return 100 + 40 * std::sin(2 * M_PI * minute / 1440.0); }

TEST(SeasonalLevel, KnowsTheHoursAndMindsTheRightValueAtTheWrongHour) {
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal;
  Watch watch("seasonal_level", Hosts());
  int t = 0;
  for (; t < 20 * 1440; ++t) watch.Tick(Daily(t) + normal(random));
  // A quarter past midnight and six hours later: near their own hour's level, not the other's.
  EXPECT_NEAR(watch.Ask(100).expected, Daily(t), 12);
  EXPECT_GT(watch.Ask(Daily(t)).p, 0.02);
  EXPECT_LT(watch.Ask(Daily(t) + 60).p, 1e-3);
}

TEST(SeasonalLevel, NeighboursInOtherHoursOfTheirDayKeepToThemselves) {
  constexpr int kSeries = 6, kTicks = 10 * 144;
  Options options = Hosts();
  options.tick_seconds = 600;
  auto together = MakeModel("seasonal_level", options);
  together->Resize(kSeries);
  Assessment all;
  all.Resize(kSeries);
  std::vector<Watch> alone;
  for (int i = 0; i < kSeries; ++i) alone.emplace_back("seasonal_level", options);
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal;
  Eigen::Array<bool, Eigen::Dynamic, 1> born(kSeries);
  Eigen::ArrayXXd x(1, kSeries);
  for (int t = 0; t < kTicks; ++t) {
    for (int i = 0; i < kSeries; ++i) {
      born(i) = t >= 11 * i;  // an hour has six ticks
      x(0, i) = Daily(10 * t) + normal(random);
    }
    together->Step(x, born, &all);
    for (int i = 0; i < kSeries; ++i) {
      if (!born(i)) continue;
      const Verdict v = alone[i].Tick(x(0, i));
      ASSERT_EQ(v.p, all.tail_probability(i)) << t;
      ASSERT_EQ(v.z, all.z(i)) << t;
      ASSERT_EQ(v.expected, all.expected(i)) << t;
    }
  }
  EXPECT_NEAR(all.expected(kSeries - 1), Daily(10 * kTicks), 15);
}

TEST(SeasonalLevel, TellsAShiftWhileItIsNewAndAcceptsItWithinADay) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  Watch watch("seasonal_level", Hosts());
  for (int t = 0; t < 14 * 1440; ++t) watch.Tick(50 + normal(random));
  EXPECT_LT(watch.Tick(62 + normal(random)).p, 1e-4);
  for (int t = 0; t < 1440; ++t) watch.Tick(62 + normal(random));
  int told = 0;
  for (int t = 0; t < 200; ++t) told += watch.Tick(62 + normal(random)).p < 1e-2;
  EXPECT_LT(told, 10);
}

TEST(SeasonalLevel, NothingInsideTheRangeSeenTwiceIsFurtherThanFiftyScales) {
  Watch watch("seasonal_level", Hosts());
  for (int t = 0; t < 2000; ++t) watch.Tick(0);
  EXPECT_EQ(watch.Tick(100).z, 1000);
  EXPECT_LE(watch.Tick(100).z, 51);  // the rest of the burst is measured by its beginning
  for (int t = 0; t < 200; ++t) watch.Tick(0);
  EXPECT_GT(watch.Tick(100).z, 300) << "a burst of two ticks is not believed for long";
  for (int t = 0; t < 200; ++t) watch.Tick(0);
  const Verdict again = watch.Tick(100);
  EXPECT_LE(again.z, 51);  // the range has forgotten a little
  EXPECT_GT(again.z, 20);
}

// One value of 10,000 spreads in row `at`, then in row 1400 one of 40.
double AfterAGlitch(const char* family, int at, int rows = 1) {
  std::mt19937_64 random(10);
  std::normal_distribution<double> normal;
  Watch watch(family, Hosts());
  for (int t = 0; t < 1400; ++t) watch.Tick(t >= at && t < at + rows ? 1e4 : normal(random));
  return watch.Ask(40).p;
}

TEST(SeasonalLevel, OneGlitchDoesNotHideALaterFault) {
  for (const int at : {0, 1, 2, 3, 14, 30, 100, 700, 1300}) EXPECT_LT(AfterAGlitch("seasonal_level", at), 1e-5) << at;
  EXPECT_LT(AfterAGlitch("seasonal_level", 700, 2), 1e-2);  // the short memory has learned some of it
}

TEST(Step, OneGlitchDoesNotHideALaterFault) {
  for (const int at : {0, 1, 2, 3, 14, 30, 100, 700, 1300}) EXPECT_LT(AfterAGlitch("step", at), 1e-5) << at;
  EXPECT_LT(AfterAGlitch("step", 700, 4), 1e-5);
}

TEST(SeasonalLevel, AGlitchThatStaysOrComesBackIsBelieved) {
  std::mt19937_64 random(11);
  std::normal_distribution<double> normal;
  for (const int period : {40, 300}) {
    Watch watch("seasonal_level", Hosts()), steps("step", Hosts());
    for (int t = 0; t < 3000; ++t) {
      const double x = normal(random) + (t % period == period - 1 ? 1000 : 0);
      watch.Tick(x);
      steps.Tick(x);
    }
    EXPECT_LE(watch.Ask(1000).z, 51) << period;
    EXPECT_LE(steps.Ask(1000).z, 34) << period;
  }
  Watch watch("seasonal_level", Hosts());
  for (int t = 0; t < 1000; ++t) watch.Tick(0);  // without any spread, so the range alone makes the scale
  for (int t = 0; t < 100; ++t) watch.Tick(100 + normal(random));
  for (int t = 0; t < 200; ++t) watch.Tick(0);
  EXPECT_LE(watch.Ask(100).z, 51);
}

TEST(Step, MindsASuddenChangeOfAWanderingLevelAndNoTickAfterAGap) {
  std::mt19937_64 random(8);
  std::normal_distribution<double> normal;
  Watch watch("step", Hosts());
  double x = 0;
  for (int t = 0; t < 5000; ++t) watch.Tick(x += normal(random));
  EXPECT_LT(watch.Ask(x + 10).p, 1e-4);
  EXPECT_GT(watch.Ask(x + 1).p, 0.05);
  watch.Gap();
  EXPECT_EQ(watch.Ask(x + 1000).p, 1.0);
}

}  // namespace
}  // namespace outlier::models
