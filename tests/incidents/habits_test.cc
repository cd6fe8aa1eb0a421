#include "userspace/incidents/habits.h"

#include <gtest/gtest.h>

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000, kDay = 86'400 * kSecond;

class HabitsTest : public ::testing::Test {
 protected:
  HabitsTest() { habits_.Resize(2); }
  static GroupStrengths Departs(double strength, bool up = true) {
    GroupStrengths now;
    now.strength[static_cast<int>(EvidenceGroup::kCpu)] = strength;
    now.up[static_cast<int>(EvidenceGroup::kCpu)] = up;
    return now;
  }
  // Departs for some seconds, then is calm for 300. Returns the seconds in which it was not usual.
  int Excursion(double strength, int seconds, bool up = true) {
    int unusual = 0;
    for (int s = 0; s < seconds; ++s) unusual += Tick(Departs(strength, up)) >= strength;
    for (int s = 0; s < 300; ++s) EXPECT_EQ(Tick(GroupStrengths()), 0);
    return unusual;
  }
  double Tick(const GroupStrengths& now) {
    now_ns_ += kSecond;
    habits_.Observe(0, now, Combine(now) >= 1, now_ns_);
    return Combine(habits_.Unusual(0, now, now_ns_));
  }
  void MakeHabit() {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(Excursion(2, 20), 20) << "told the " << i + 1 << ". time";
  }

  Habits habits_;
  uint64_t now_ns_ = kDay;
};

TEST_F(HabitsTest, TheFourthOfItsLikeIsUsual) {
  MakeHabit();
  EXPECT_EQ(Excursion(2, 20), 0);
  EXPECT_EQ(Excursion(2.5, 25), 0) << "a little more of it is still its like";
}

TEST_F(HabitsTest, AStrongerOneIsNot) {
  MakeHabit();
  EXPECT_EQ(Excursion(4, 20), 20);
}

TEST_F(HabitsTest, ALongerOneIsToldOnceItIsLonger) {
  MakeHabit();
  const int unusual = Excursion(2, 120);
  EXPECT_GT(unusual, 80);
  EXPECT_LT(unusual, 90);
}

TEST_F(HabitsTest, OneInTheOtherDirectionIsNot) {
  MakeHabit();
  EXPECT_EQ(Excursion(2, 20, false), 20);
}

TEST_F(HabitsTest, OneSignalsHabitExcusesNoOther) {
  MakeHabit();
  GroupStrengths now = Departs(2);
  now.strength[static_cast<int>(EvidenceGroup::kMemory)] = 3;
  EXPECT_EQ(Tick(now), 3);
}

TEST_F(HabitsTest, SpellsWithAShortGapAreOne) {
  for (int i = 0; i < 10; ++i) {
    for (int s = 0; s < 20; ++s) EXPECT_EQ(Tick(Departs(2)), 2);
    for (int s = 0; s < 5; ++s) Tick(GroupStrengths());
  }
}

TEST_F(HabitsTest, WhatWasTooWeakToBeToldIsNothingToGetUsedTo) {
  for (int i = 0; i < 10; ++i) Excursion(0.9, 20);
  EXPECT_EQ(Excursion(1.1, 20), 20);
}

TEST_F(HabitsTest, FadesWithinWeeks) {
  MakeHabit();
  now_ns_ += 21 * kDay;
  EXPECT_EQ(Excursion(2, 20), 20);
}

TEST_F(HabitsTest, ADailyJobIsUsualAfterSomeDaysAndAWeeklyOneNever) {
  int days = 0;
  while (Excursion(2, 20) > 0 && days < 20) {
    now_ns_ += kDay;
    ++days;
  }
  EXPECT_GE(days, 3);
  EXPECT_LE(days, 5);
  habits_.Forget(0);
  for (int week = 0; week < 20; ++week) {
    EXPECT_EQ(Excursion(2, 20), 20) << "week " << week;
    now_ns_ += 7 * kDay;
  }
}

TEST_F(HabitsTest, AFalseAlarmIsUsualAtOnceAndWhatWasUsefulIsToldAgain) {
  EXPECT_EQ(Excursion(2, 20), 20);
  habits_.Accept(0, now_ns_);
  EXPECT_EQ(Excursion(2, 20), 0);
  habits_.Reject(0);
  EXPECT_EQ(Excursion(2, 20), 20);
}

TEST_F(HabitsTest, AFalseAlarmSaysNothingOfWhatWasLongAgo) {
  EXPECT_EQ(Excursion(2, 20), 20);
  now_ns_ += 2 * 3600 * kSecond;
  habits_.Accept(0, now_ns_);
  EXPECT_EQ(Excursion(2, 20), 20);
}

TEST_F(HabitsTest, OfOneWorkloadAreNotThoseOfAnother) {
  MakeHabit();
  habits_.Observe(1, Departs(2), true, now_ns_);
  EXPECT_EQ(Combine(habits_.Unusual(1, Departs(2), now_ns_)), 2);
}

TEST_F(HabitsTest, SurviveSavingAndLoading) {
  MakeHabit();
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(habits_);
  habits_ = Habits();
  ArchiveReader reader(bytes);
  reader(habits_);
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(Excursion(2, 20), 0);
}

}  // namespace
}  // namespace outlier
