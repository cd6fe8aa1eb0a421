// What hits the whole host is told once, of the host.
#include "userspace/incidents/host_disturbance.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class HostDisturbanceTest : public ::testing::Test {
 protected:
  static constexpr int kSlots = 50;
  HostDisturbanceTest() {
    disturbance_.Resize(kSlots);
    disturbance_.SetWorkloads(kSlots);
  }

  std::optional<v1::Contribution> Tick(double boot_seconds, double wall_seconds, double interval) {
    boot_ += static_cast<uint64_t>(boot_seconds * 1e9);
    wall_ += static_cast<int64_t>(wall_seconds * 1e9);
    WorkloadTick tick;
    tick.boot_time_ns = boot_;
    tick.wall_time_ns = wall_;
    tick.interval_seconds = interval;
    return disturbance_.Interruption(tick);
  }
  void Departs(Slot slot, double second, double strength = 1, EvidenceGroup group = EvidenceGroup::kCpu, bool up = true, bool known = true,
               EvidenceLayer layer = EvidenceLayer::kSudden) {
    GroupStrengths groups;
    const int entry = static_cast<int>(layer) * kEvidenceGroups + static_cast<int>(group);
    groups.strength[entry] = strength;
    groups.up[entry] = up;
    now_ns_ = static_cast<uint64_t>((second + 1000) * 1e9);
    disturbance_.Observe(slot, groups, known, now_ns_);
  }
  int Together(Slot slot, bool known) const { return static_cast<int>(disturbance_.Together(slot, known, now_ns_).size()); }

  HostDisturbance disturbance_;
  uint64_t now_ns_ = 0;
  uint64_t boot_ = 5000 * kSecond;
  int64_t wall_ = 1'800'000'000LL * 1'000'000'000;
};

TEST_F(HostDisturbanceTest, SteadyTicksAreNoInterruption) {
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(Tick(1, 1, 1).has_value());
}

TEST_F(HostDisturbanceTest, ATickOfManyIsAnInterruptionWithItsLength) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  const auto told = Tick(300, 300, 300);
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->signal(), "host.tick.interval");
  EXPECT_EQ(told->observed(), 300);
  EXPECT_NEAR(told->expected(), 1, 1e-9);
  EXPECT_FALSE(Tick(1, 1, 1).has_value());
}

TEST_F(HostDisturbanceTest, AClockThatIsSetIsAnInterruptionWithItsDirection) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  const auto back = Tick(1, -3599, 1);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->signal(), "host.clock.jump");
  EXPECT_NEAR(back->observed(), -3600, 1e-3);
  EXPECT_EQ(back->direction(), v1::Contribution::DOWN);
  EXPECT_FALSE(Tick(1, 1, 1).has_value());
}

TEST_F(HostDisturbanceTest, ARestartOfTheDaemonIsNone) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  EXPECT_FALSE(Tick(3600, 3600, 0).has_value());
}

TEST_F(HostDisturbanceTest, NeitherIsARebootWhoseClockBeginsAnew) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  boot_ = 20 * kSecond;
  EXPECT_FALSE(Tick(1, 90, 1).has_value());
}

TEST_F(HostDisturbanceTest, FourOfFiftyInOneMinuteAreTogetherAndThreeAreNot) {
  for (Slot slot = 3; slot < 6; ++slot) Departs(slot, slot);
  EXPECT_EQ(Together(5, true), 0);
  Departs(6, 20);
  EXPECT_EQ(Together(6, true), 4);
}

TEST_F(HostDisturbanceTest, WhatWasHeldByManyAndNeverBeforeIsTogetherAsWhatCameSuddenlyIs) {
  for (const EvidenceLayer layer : {EvidenceLayer::kHeld, EvidenceLayer::kRecord}) {
    const int first = 4 * static_cast<int>(layer), second = 1000 * static_cast<int>(layer);
    for (int slot = first; slot < first + 3; ++slot) Departs(slot, second, 1, EvidenceGroup::kMemory, true, true, layer);
    EXPECT_EQ(Together(first, true), 0);
    Departs(first + 3, second, 1, EvidenceGroup::kMemory, true, true, layer);
    EXPECT_EQ(Together(first, true), 4);
  }
}

TEST_F(HostDisturbanceTest, TheHostAndItsKernelAreNoWorkloadsOfIt) {
  for (Slot slot = 0; slot < kFirstOwnedSlot + 3; ++slot) Departs(slot, slot);
  EXPECT_EQ(Together(kFirstOwnedSlot + 2, true), 0) << "what the host uses is what its three services use";
}

TEST_F(HostDisturbanceTest, APersonsWordMakesItRarer) {
  for (Slot slot = 3; slot < 9; ++slot) Departs(slot, 0);
  for (Slot slot = 3; slot < 9; ++slot) Departs(slot, 30, 0);
  for (Slot slot = 3; slot < 9; ++slot) Departs(slot, 3600);
  const double before = disturbance_.PerWeek(now_ns_);
  disturbance_.MakeRarer();
  EXPECT_NEAR(disturbance_.PerWeek(now_ns_), 50 * before, 1e-9);
  disturbance_.TakeBack();
  EXPECT_EQ(disturbance_.PerWeek(now_ns_), before);
}

TEST_F(HostDisturbanceTest, OnLargeHostsItTakesThreeInAHundred) {
  disturbance_.Resize(1000);
  disturbance_.SetWorkloads(1000);
  for (Slot slot = 3; slot < 32; ++slot) Departs(slot, 1);
  EXPECT_EQ(Together(31, true), 0);
  Departs(32, 1);
  EXPECT_EQ(Together(32, true), 30);
}

TEST_F(HostDisturbanceTest, OtherWaysAndOtherTimesAreNotTogether) {
  Departs(3, 0);
  Departs(4, 0, 1, EvidenceGroup::kMemory);
  Departs(5, 0, 1, EvidenceGroup::kCpu, false);
  Departs(6, 90);
  Departs(7, 90, 0.5);  // too weak
  EXPECT_EQ(Together(3, true), 0);
}

TEST_F(HostDisturbanceTest, WorkloadsNotKnownForADayAreGivenTenMinutes) {
  for (Slot slot = 3; slot < 7; ++slot) Departs(slot, 120.0 * slot, 1, EvidenceGroup::kCpu, true, false);
  EXPECT_EQ(Together(6, true), 0);
  EXPECT_EQ(Together(6, false), 4);
}

TEST_F(HostDisturbanceTest, ManyThatBeginAtOnceAreNoChanceAndManyOneAfterTheOtherAre) {
  for (Slot slot = 3; slot < 9; ++slot) Departs(slot, 900, 1, EvidenceGroup::kCpu, true, false);
  EXPECT_LT(disturbance_.ByChance(8), 0.01);
  for (Slot slot = 12; slot < 40; ++slot) Departs(slot, 2000 + 15.0 * slot, 1, EvidenceGroup::kCpu, true, false);
  EXPECT_GT(disturbance_.ByChance(39), 50) << "two a half minute, which began one half minute after the other";
  for (Slot slot = 40; slot < 50; ++slot) Departs(slot, 2590, 1, EvidenceGroup::kMemory, true, false);
  EXPECT_LT(disturbance_.ByChance(49), 0.01) << "what they do is something else";
}

TEST_F(HostDisturbanceTest, InTheFirstMinuteOfAHostFewAtOnceMayBeChance) {
  for (Slot slot = 3; slot < 7; ++slot) Departs(slot, 60.0 - 1000, 1, EvidenceGroup::kCpu, true, false);
  EXPECT_GT(disturbance_.ByChance(6), 1);
}

TEST_F(HostDisturbanceTest, WhatComesLaterOfADepartureIsItsOwn) {
  for (Slot slot = 3; slot < 7; ++slot) Departs(slot, slot);
  Departs(6, 300);
  EXPECT_EQ(Together(6, true), 0);
}

TEST_F(HostDisturbanceTest, ATickThatIsSetLongIsLearned) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  for (int i = 0; i < 30; ++i) Tick(60, 60, 60);
  EXPECT_FALSE(Tick(60, 60, 60).has_value());
}

TEST_F(HostDisturbanceTest, IsToldAsOftenAsItWasSeen) {
  const double hour = 3600;
  for (int episode = 0; episode < 3; ++episode) {
    EXPECT_NEAR(disturbance_.PerWeek(0), std::max(0, episode - 1), 0.01) << "the one under way does not count against itself";
    for (Slot slot = 3; slot < 9; ++slot) Departs(slot, episode * hour);
    for (Slot slot = 3; slot < 9; ++slot) Departs(slot, episode * hour + 30, 0);
  }
}

TEST_F(HostDisturbanceTest, WhatNeverEndsIsAnEpisodeEachTenMinutes) {
  for (int minute = 0; minute < 120; ++minute) {
    for (Slot slot = 3; slot < 9; ++slot) Departs(slot, minute * 60.0);
    for (Slot slot = 3; slot < 9; ++slot) Departs(slot, minute * 60.0 + 30, 0);
  }
  EXPECT_GT(disturbance_.PerWeek(now_ns_), 50);
}

TEST_F(HostDisturbanceTest, SurvivesSavingAndLoading) {
  for (int i = 0; i < 10; ++i) Tick(1, 1, 1);
  for (Slot slot = 3; slot < 7; ++slot) Departs(slot, slot);
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(disturbance_);
  HostDisturbance loaded;
  ArchiveReader reader(bytes);
  reader(loaded);
  ASSERT_TRUE(reader.done());
  loaded.SetWorkloads(kSlots);
  EXPECT_EQ(loaded.Together(6, true, now_ns_).size(), 4u);
  disturbance_ = loaded;
  EXPECT_TRUE(Tick(300, 300, 300).has_value());
}

}  // namespace
}  // namespace outlier
