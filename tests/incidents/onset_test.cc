// Change points of synthetic series whose truth is known.
#include "userspace/incidents/onset.h"

#include <gtest/gtest.h>

#include <random>

namespace outlier {
namespace {

constexpr int kLength = 64;

class OnsetTest : public testing::TestWithParam<int> {
 protected:
  double Noise(double deviation) { return std::normal_distribution<double>(0, deviation)(random_); }
  // Newest first; `now` from age `onset` on, `before` before that.
  Recent Step(double before, double now, int onset, double deviation) {
    Recent recent;
    for (int age = 0; age < kLength; ++age) recent.push_back((age <= onset ? now : before) + Noise(deviation));
    return recent;
  }
  Recent Ramp(double before, double per_tick, int onset, double deviation) {
    Recent recent;
    for (int age = 0; age < kLength; ++age) recent.push_back(before + per_tick * std::max(onset - age, 0) + Noise(deviation));
    return recent;
  }
  // Each value but the newest goes with this chance.
  void Lose(double chance, Recent* recent) {
    for (size_t age = 1; age < recent->size(); ++age) {
      if (std::bernoulli_distribution(chance)(random_)) (*recent)[age].reset();
    }
  }
  std::mt19937_64 random_{static_cast<uint64_t>(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(Seeds, OnsetTest, testing::Range(0, 20));

TEST_P(OnsetTest, AStepIsDatedToItsFirstTickThroughNoise) {
  for (int onset = 2; onset < kLength; ++onset) {
    EXPECT_EQ(StepOnset(Step(10, 30, onset, 1.5), 10), onset) << "up";
    EXPECT_EQ(StepOnset(Step(100, 40, onset, 4), 100), onset) << "down";
  }
}

TEST_P(OnsetTest, OneStragglerInsideTheRunIsForgivenAndTwoEndIt) {
  for (int onset = 20; onset < kLength; ++onset) {
    Recent recent = Step(10, 30, onset, 1);
    recent[onset - 7] = 10;
    EXPECT_EQ(StepOnset(recent, 10), onset);
    recent[onset - 6] = 10;
    EXPECT_EQ(StepOnset(recent, 10), onset - 8) << "the run that goes on until now is shorter";
  }
}

TEST_P(OnsetTest, AbsentTicksNeitherEndAStepNorMoveIt) {
  for (int onset = 12; onset < kLength; ++onset) {
    Recent recent = Step(10, 30, onset, 1.5);
    Lose(0.4, &recent);
    int oldest = 0;  // the truth, as far as it was seen
    for (int age = 0; age <= onset; ++age) oldest = recent[age] ? age : oldest;
    EXPECT_EQ(StepOnset(recent, 10), oldest);
  }
}

TEST_P(OnsetTest, GrowthWithoutNoiseIsMeasuredExactly) {
  for (int onset = 3; onset < kLength - 1; ++onset) {
    const Growth growth = GrowthOf(Ramp(100, 5, onset, 0), 100);
    EXPECT_DOUBLE_EQ(growth.per_tick, 5);
    EXPECT_EQ(growth.onset, onset);
    EXPECT_DOUBLE_EQ(growth.share_rising, 1);
    EXPECT_NEAR(growth.largest_jump, 1.0 / onset, 1e-12);
    EXPECT_EQ(IsDrift(growth, growth.onset), onset >= 6);
  }
}

TEST_P(OnsetTest, GrowthIsMeasuredThroughNoiseAndGaps) {
  for (int onset = 20; onset < kLength; onset += 4) {
    Recent recent = Ramp(100, 5, onset, 1);
    Lose(0.2, &recent);
    const Growth growth = GrowthOf(recent, 100);
    EXPECT_NEAR(growth.per_tick, 5, 0.5) << "onset " << onset;  // a tenth: noise may prolong the run into the flat part
    EXPECT_NEAR(growth.onset, onset, 2);
    EXPECT_TRUE(IsDrift(growth, growth.onset));
  }
}

TEST_P(OnsetTest, GrowthOlderThanTheMemoryIsDatedBackAlongItsLine) {
  const Growth growth = GrowthOf(Ramp(100, 5, 150, 1), 100);
  EXPECT_NEAR(growth.per_tick, 5, 0.05);
  EXPECT_NEAR(growth.onset, 150, 2);
}

TEST_P(OnsetTest, AnAllocationIsNoDriftHoweverLongItIsHeld) {
  for (int onset = 3; onset < kLength; ++onset) {
    const Growth growth = GrowthOf(Step(100, 400, onset, 1), 100);
    EXPECT_FALSE(IsDrift(growth, kLength)) << "onset " << onset << " jump " << growth.largest_jump;
  }
}

TEST_P(OnsetTest, AStaircaseOfThreeStepsIsNoDrift) {
  Recent recent;
  for (int age = 0; age < kLength; ++age) recent.push_back(100.0 * (3 - age / 16) + Noise(0.5));
  EXPECT_FALSE(IsDrift(GrowthOf(recent, 0), kLength));
}

TEST_P(OnsetTest, NoiseAroundTheExpectedIsNoDrift) {
  const Recent recent = Step(100, 100, 5, 2);
  const Growth growth = GrowthOf(recent, 100);
  EXPECT_FALSE(IsDrift(growth, growth.onset));
}

TEST_P(OnsetTest, SilenceBeginsAfterTheLastTickThatHadMoreThanATenth) {
  for (int onset = 0; onset < kLength - 1; ++onset) {
    Recent recent = Step(20, 0, onset, 0);
    for (auto& value : recent) *value += *value > 0 ? Noise(3) : 0;
    EXPECT_EQ(SilenceOnset(recent, 20), onset);
    for (int age = 0; age <= onset; age += 3) recent[age] = 1.9;  // a trickle is silence too
    EXPECT_EQ(SilenceOnset(recent, 20), onset);
    for (int age = 1; age <= onset; age += 2) recent[age].reset();
    EXPECT_EQ(SilenceOnset(recent, 20), onset);
  }
}

TEST(Onset, OfNothingSeenIsNow) {
  for (const Recent& recent : {Recent(), Recent(10)}) {
    EXPECT_EQ(StepOnset(recent, 5), 0);
    EXPECT_EQ(GrowthOf(recent, 5).onset, 0);
    EXPECT_FALSE(IsDrift(GrowthOf(recent, 5), 100));
  }
  EXPECT_EQ(SilenceOnset({}, 5), 0);
}

TEST(Onset, OfSilenceAsLongAsTheMemoryIsItsOldestTick) { EXPECT_EQ(SilenceOnset(Recent(30, 0.0), 5), 29); }

TEST(Onset, OfSomethingThatStillWorksIsNow) { EXPECT_EQ(SilenceOnset(Recent(30, 5.0), 5), 0); }

TEST(Onset, OfGrowthNeedsThreeValues) { EXPECT_EQ(GrowthOf({20.0, 15.0}, 10).per_tick, 0); }

}  // namespace
}  // namespace outlier
