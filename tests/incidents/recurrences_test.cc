// How often chance alone would bring the like of a departure, and what moves that estimate.
#include "userspace/incidents/recurrences.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/incidents/recurrences_fixture.h"
#include "userspace/incidents/poisson_interval.h"

namespace outlier {
namespace {

TEST_F(RecurrencesTest, NothingThatDepartsNeverRecurs) { EXPECT_EQ(Tick({}), kNever); }

TEST_F(RecurrencesTest, TheStrongerTheRarer) {
  Calm(86400);
  double before = kNever;
  for (const double strength : {0.4, 0.7, 1.0, 2.0, 5.0}) {
    const double per_week = recurrences_.PerWeek(0, Departs(strength), counts_, now_ns_);
    EXPECT_LT(per_week, before) << strength;
    before = per_week;
  }
}

TEST_F(RecurrencesTest, TheLongerAWorkloadHasBeenCalmTheRarerIsWhatItDoes) {
  Calm(60);
  const double young = recurrences_.PerWeek(0, Departs(1), counts_, now_ns_);
  Calm(7 * 86400);
  EXPECT_LT(recurrences_.PerWeek(0, Departs(1), counts_, now_ns_), young / 1000);
}

TEST_F(RecurrencesTest, AnyOfTheHostsWorkloadsCouldHaveBroughtIt) {
  Calm(86400);
  const double of_fifty = recurrences_.PerWeek(0, Departs(1), counts_, now_ns_);
  workloads_ = 500;
  Tick({});
  EXPECT_NEAR(recurrences_.PerWeek(0, Departs(1), counts_, now_ns_) / of_fifty, 10, 0.1);
}

TEST_F(RecurrencesTest, WhatIsLeftOutDoesNotCount) {
  Calm(86400);
  counts_[static_cast<int>(EvidenceGroup::kCpu)] = false;
  EXPECT_EQ(recurrences_.PerWeek(0, Departs(5), counts_, now_ns_), kNever);
}

TEST_F(RecurrencesTest, OneKindOfEvidenceIsCorroboratedByAnother) {
  Calm(86400);
  GroupStrengths both = Departs(1);
  both.strength[static_cast<int>(EvidenceGroup::kActivity)] = 1;
  EXPECT_LT(recurrences_.PerWeek(0, both, counts_, now_ns_), recurrences_.PerWeek(0, Departs(1), counts_, now_ns_) / 5);
}

TEST_F(RecurrencesTest, ARepetitionComesAsOftenAsItWasSeen) {
  Calm(86400);
  const double first = Excursion(3);
  EXPECT_LT(first, 0.1);
  EXPECT_NEAR(Excursion(3), 1 / (1 + 1.0 / 7), 0.02) << "one in a week of belief and the day that was watched";
  EXPECT_NEAR(Excursion(3), 2 / (2.0 / 7), 0.1) << "several: the day that was watched and one of belief";
  EXPECT_NEAR(Excursion(2), 3 / (1.5 / 7), 0.2) << "weaker than what was seen: as often as anything was, and the more often the less is believed";
}

TEST_F(RecurrencesTest, AStrongerOneThanEverIsRareAgain) {
  Calm(7 * 86400);
  for (int i = 0; i < 5; ++i) Excursion(1);
  EXPECT_GT(Excursion(1.1), 2);
  EXPECT_LT(Excursion(8), 0.1);
}

TEST_F(RecurrencesTest, OneInTheOtherDirectionOrOfAnotherKindIsNoRepetition) {
  Calm(7 * 86400);
  for (int i = 0; i < 5; ++i) Excursion(2);
  EXPECT_LT(Excursion(2, 20, false), 0.1);
  EXPECT_LT(Tick(Departs(2, true, EvidenceGroup::kMemory)), 0.1);
  EXPECT_LT(Tick(Departs(2), 1, 1), 0.5) << "another workload, though repetitions on the host count for every repetition";
}

TEST_F(RecurrencesTest, RepetitionsEverywhereOnTheHostMakeEveryRepetitionCommon) {
  recurrences_.Resize(40);
  for (size_t slot = 2; slot < 40; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(86400);
  for (size_t slot = 0; slot < 40; ++slot) Once(slot);
  int told = 0;
  for (size_t slot = 0; slot < 40; ++slot) told += Once(slot) <= 1;
  EXPECT_GE(told, 1);
  EXPECT_LE(told, 2) << "a promise of one a week holds for all of them together";
}

TEST_F(RecurrencesTest, WhatAllNewWorkloadsDoIsCommonForNewOnesAndSaysNothingOfKnownOnes) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  for (size_t slot = 0; slot < 2; ++slot) EXPECT_LE(Once(slot), 1) << slot;
  for (size_t slot = 2; slot < 10; ++slot) EXPECT_GT(Once(slot), 7) << slot;
  Calm(2 * 86400);
  EXPECT_LE(Once(10), 0.1) << "by now it is known, and never did it";
}

TEST_F(RecurrencesTest, WhatNewWorkloadsDoInOneSignalAloneSaysNothingOfWhatOthersDoInTwo) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  agree_ = false;
  for (size_t slot = 0; slot < 10; ++slot) {
    Once(slot);
  }
  EXPECT_LE(Tick(Departs(2), 1, 10), 0.1);
}

TEST_F(RecurrencesTest, NewWorkloadsThatBeginToWorkAreOneSortOfThingWhateverSignalShowsIt) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  Once(0);
  Once(1);
  for (const EvidenceGroup group : {EvidenceGroup::kIo, EvidenceGroup::kActivity, EvidenceGroup::kWaiting}) {
    EXPECT_GT(Tick(Departs(2, true, group), 1, 2), 7);
  }
}

TEST_F(RecurrencesTest, ThatNewWorkloadsBeginToWorkSaysNothingOfThoseThatFailOrGrowOrWaitForWhatOthersTook) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  for (size_t slot = 0; slot < 8; ++slot) Once(slot);
  for (const EvidenceGroup group : {EvidenceGroup::kErrors, EvidenceGroup::kMemory, EvidenceGroup::kLatency, EvidenceGroup::kSilence}) {
    EXPECT_LE(recurrences_.PerWeek(8, Departs(2, true, group), counts_, now_ns_), 0.1);
  }
  GroupStrengths waits = Departs(2, true, EvidenceGroup::kWaiting);
  waits.taken = true;
  EXPECT_LE(recurrences_.PerWeek(8, waits, counts_, now_ns_), 0.1);
}

TEST_F(RecurrencesTest, WhoIsSeenToWaitForWhatOthersTookDoesNotCountAsOneThatBeganToWork) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  for (size_t slot = 0; slot < 8; ++slot) {
    GroupStrengths waits = Departs(2, true, EvidenceGroup::kWaiting);
    for (int s = 0; s < 20; ++s) {
      waits.taken = s == 4;  // it takes some seconds to see it, and a moment to forget
      Tick(waits, 1, slot);
    }
    for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
  }
  EXPECT_LE(recurrences_.PerWeek(8, Departs(2), counts_, now_ns_), 0.1);
}

TEST_F(RecurrencesTest, WhatAWorkloadDoesAnywayCorroboratesNothing) {
  GroupStrengths both = Departs(0.6, true, EvidenceGroup::kLatency);
  both.strength[static_cast<int>(EvidenceGroup::kCpu)] = 2;
  both.up[static_cast<int>(EvidenceGroup::kCpu)] = true;
  Calm(2 * 86400);
  const double with_news = recurrences_.PerWeek(0, both, counts_, now_ns_);
  for (int i = 0; i < 5; ++i) Excursion(2);
  const double with_a_habit = recurrences_.PerWeek(0, both, counts_, now_ns_);
  EXPECT_GT(with_a_habit, 5 * with_news);
  EXPECT_DOUBLE_EQ(with_a_habit, recurrences_.PerWeek(0, Departs(0.6, true, EvidenceGroup::kLatency), counts_, now_ns_)) << "as if it were alone";
}

TEST_F(RecurrencesTest, WhatOtherNewWorkloadsAreDoingJustNowIsSeenToo) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  std::array<double, 12> rarest;
  rarest.fill(kNever);
  for (int s = 0; s < 20; ++s) {
    for (size_t slot = 0; slot < 12; ++slot) rarest[slot] = std::min(rarest[slot], Tick(Departs(2), 1.0 / 12, slot));
  }
  EXPECT_LE(rarest[0], 0.1) << "the first of all";
  for (size_t slot = 3; slot < 12; ++slot) EXPECT_GT(rarest[slot], 7) << slot;
}

TEST_F(RecurrencesTest, WhereNewWorkloadsDepartInEverySizeARecordIsNoNews) {
  constexpr size_t kMany = 202;
  recurrences_.Resize(kMany);
  for (size_t slot = 2; slot < kMany; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(3600);
  EXPECT_LE(recurrences_.PerWeek(0, Departs(30), counts_, now_ns_), 0.1) << "before any was seen";
  for (size_t slot = 2; slot < kMany; ++slot) {  // a Pareto law: marks are exponential
    const double strength = 0.36 * std::pow((static_cast<double>(slot) - 1.5) / (kMany - 2), -1.0);
    for (int s = 0; s < 20; ++s) Tick(Departs(std::min(strength, 25.0)), 1, slot);
    for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
  }
  EXPECT_GT(recurrences_.PerWeek(0, Departs(30), counts_, now_ns_), 7);
}

// What the slow clocks say of an excursion that the fast ones have seen many times.
TEST_F(RecurrencesTest, APhaseThatIsUsualIsRareOnlyWhenItLastsMuchLongerThanUsual) {
  Calm(86400);
  for (int i = 0; i < 20; ++i) Excursion(2, 60, true, 600);
  GroupStrengths both = Departs(2);
  both.strength[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = 5;
  both.up[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = true;
  double at_two_minutes = 0, at_twenty = 0;
  for (int s = 1; s <= 1200; ++s) {
    const double per_week = Tick(s < 60 ? Departs(2) : both);
    if (s == 120) at_two_minutes = per_week;
    at_twenty = per_week;
  }
  EXPECT_GT(at_two_minutes, 7);
  EXPECT_LT(at_twenty, 0.1);
}

TEST_F(RecurrencesTest, WhatTheSlowClocksSayOfAnExcursionThatHasEndedIsNotRarerThanItWas) {
  Calm(86400);
  for (int i = 0; i < 20; ++i) Excursion(2, 60, true, 600);
  Excursion(2, 90, true, 60);
  GroupStrengths held;
  held.strength[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = 5;
  held.up[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = true;
  EXPECT_GT(Tick(held), 7);
}

// They say it again until a bin of a minute is full: that makes a burst of some seconds no longer than it was.
TEST_F(RecurrencesTest, WhatTheSlowClocksRepeatUntilTheirNextBinMakesNoExcursionLonger) {
  Calm(86400);
  for (int i = 0; i < 20; ++i) Excursion(2, 9, true, 600);
  GroupStrengths held;
  held.strength[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = 5;
  held.up[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = true;
  for (int s = 0; s < 60; ++s) EXPECT_GT(Tick(held), 7) << s;
}

TEST_F(RecurrencesTest, AShiftThatLastsIsRareThoughTheFastModelsFlicker) {
  Calm(86400);
  for (int i = 0; i < 20; ++i) Excursion(2, 60, true, 600);
  double at_end = 0;
  for (int s = 0; s < 1800; ++s) {
    GroupStrengths now = s % 30 < 15 ? Departs(2) : GroupStrengths{};
    now.strength[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = 5;
    now.up[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = true;
    at_end = Tick(now);
  }
  EXPECT_LT(at_end, 0.1);
}

TEST_F(RecurrencesTest, WhatAKnownWorkloadDoesForTheFirstTimeSaysNothingOfNewOnes) {
  Calm(2 * 86400);  // the two are known by now
  recurrences_.Resize(4);
  recurrences_.Forget(2, now_ns_);
  recurrences_.Forget(3, now_ns_);
  for (int s = 0; s < 20; ++s) {
    for (size_t slot : {0, 1}) Tick(Departs(5), 1, slot);
  }
  EXPECT_LT(Tick(Departs(5), 1, 2), 0.1);
}

TEST_F(RecurrencesTest, AStateWithAKindThatThereIsNotIsRefused) {
  Calm(60);
  Tick(Departs(2));
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(recurrences_);
  constexpr size_t kFirstIndex = 8 + 8 + 8 + 8;  // after the number of slots, two times, and the number of kinds
  bytes[kFirstIndex] = '\xff';
  Recurrences loaded;
  ArchiveReader reader(bytes);
  reader(loaded);
  EXPECT_FALSE(reader.ok());
}

TEST_F(RecurrencesTest, SpellsWithAShortGapAreOne) {
  Calm(86400);
  for (int i = 0; i < 10; ++i) {
    for (int s = 0; s < 20; ++s) EXPECT_LT(Tick(Departs(2)), 0.1);
    for (int s = 0; s < 5; ++s) Tick({});
  }
}

TEST_F(RecurrencesTest, WhatWasSeenFadesWithinWeeks) {
  Calm(86400);
  for (int i = 0; i < 4; ++i) Excursion(2);
  EXPECT_GT(Excursion(2), 3);
  Calm(10 * 7 * 86400);
  EXPECT_LT(Excursion(2), 1);
}

TEST_F(RecurrencesTest, AFalseAlarmMakesItsLikeCommonAtAnyTimeUpToABoundAndCanBeTakenBack) {
  const EvidenceKind kind = {static_cast<int>(EvidenceGroup::kCpu), true};
  const auto say = [&] { recurrences_.SetFeedback(0, kind, Recurrences::Rarer(recurrences_.Feedback(0, kind))); };
  Calm(86400);
  Excursion(2);
  Calm(6 * 3600);
  const double before = recurrences_.PerWeek(0, Departs(2), counts_, now_ns_);
  const double other = recurrences_.PerWeek(0, Departs(2, false), counts_, now_ns_);
  say();
  EXPECT_NEAR(recurrences_.PerWeek(0, Departs(2), counts_, now_ns_) / before, 50, 0.01);
  EXPECT_EQ(recurrences_.PerWeek(0, Departs(2, false), counts_, now_ns_), other) << "no other kind";
  for (int i = 0; i < 300; ++i) say();
  EXPECT_NEAR(recurrences_.PerWeek(0, Departs(2), counts_, now_ns_) / before, 1e6, 1);
  recurrences_.SetFeedback(0, kind, 1);
  EXPECT_EQ(recurrences_.PerWeek(0, Departs(2), counts_, now_ns_), before) << "never louder than without a word";
}

TEST_F(RecurrencesTest, WhatIsIssuedSaysHowMuchAWordMadeOfJustThat) {
  Calm(86400);
  recurrences_.SetFeedback(0, {static_cast<int>(EvidenceGroup::kCpu), true}, 50);
  GroupStrengths both = Departs(2);
  both.strength[static_cast<int>(EvidenceGroup::kMemory)] = 2;
  both.up[static_cast<int>(EvidenceGroup::kMemory)] = true;
  now_ns_ += 1'000'000'000;
  recurrences_.Observe(0, Departs(2), agree_, now_ns_);
  EXPECT_EQ(recurrences_.Issue(0, Departs(2), counts_, now_ns_).feedback, 50);
  recurrences_.Observe(0, both, agree_, now_ns_);
  EXPECT_EQ(recurrences_.Issue(0, both, counts_, now_ns_).feedback, 1) << "memory tells it, of which nobody said a word";
}

// A hundred known workloads depart for the first time in a day, each so that the law expects its like five to ten times a week.
TEST_F(RecurrencesTest, TheControllerCorrectsALawThatIsTooBoldByAtMostTenTimes) {
  constexpr size_t kMany = 102;
  const GroupStrengths rare = Departs(0.72);
  agree_ = false;  // of new workloads, and of no kind that is told: what these do, the law does not learn
  recurrences_.Resize(kMany);
  for (size_t slot = 2; slot < kMany; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(20 * 3600);
  const double before = recurrences_.PerWeek(0, rare, counts_, now_ns_);
  EXPECT_GT(before, 0.1);
  EXPECT_LT(before, 1);
  for (size_t slot = 2; slot < kMany; ++slot) {
    for (int s = 0; s < 20; ++s) Tick(rare, 1, slot);
    for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
  }
  const Recurrences::Account account = recurrences_.account();
  EXPECT_GT(account.correction, 4);
  EXPECT_LE(account.correction, 10);
  EXPECT_FALSE(account.from_prior);
  EXPECT_GT(recurrences_.PerWeek(0, rare, counts_, now_ns_), 3 * before);
}

TEST_F(RecurrencesTest, AFewTrueIncidentsInADayHardlyMoveTheControllerAndTenAtMostDoubleTheirRate) {
  recurrences_.Resize(12);
  for (size_t slot = 2; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(86400);
  for (size_t slot = 0; slot < 3; ++slot) EXPECT_LT(Once(slot), 0.01);
  EXPECT_LT(recurrences_.account().correction, 1.4);
  for (size_t slot = 3; slot < 12; ++slot) EXPECT_LT(Once(slot), 0.01);
  EXPECT_GT(recurrences_.account().correction, 1.7);
  EXPECT_LT(recurrences_.account().correction, 2.3);
}

// In its first days a host tells by its everyday departures, among which no true trouble is, that the law is too bold for it.
TEST_F(RecurrencesTest, AFewEverydayDeparturesMoveTheControllerAsMuchAsManyRareOnes) {
  constexpr size_t kMany = 32;
  recurrences_.Resize(kMany);
  for (size_t slot = 2; slot < kMany; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(86400);
  const GroupStrengths everyday = Departs(0.55);
  agree_ = false;
  const double issued = recurrences_.PerWeek(0, everyday, counts_, now_ns_);
  ASSERT_GT(issued, 1);
  ASSERT_LT(issued, 100);
  for (size_t slot = 2; slot < 14; ++slot) {
    for (int s = 0; s < 20; ++s) Tick(everyday, 1, slot);
    for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
  }
  EXPECT_GT(recurrences_.account().correction, 1.4);
  EXPECT_LT(recurrences_.account().correction, 2.0);
}

// A promise is a bound: a law that is right on average would break it in every other week.
TEST_F(RecurrencesTest, WhereDeparturesComeAsOftenAsTheLawSaysTheControllerAsksForTwiceTheRarity) {
  constexpr double kWeeks = 6, kEach = 86400 * 7 / 80.0;  // 80 a week
  for (int n = 0; n < 80 * kWeeks; ++n) Excursion(1, 20, true, kEach - 20);
  const double issued = Excursion(1);
  EXPECT_GT(issued, 40);
  EXPECT_LT(issued, 100);
  EXPECT_GT(recurrences_.account().excess, 0.6);
  EXPECT_LT(recurrences_.account().excess, 1.1);
  EXPECT_GT(recurrences_.account().correction, 1.3);
  EXPECT_LT(recurrences_.account().correction, 2.0);
}

// One burns a core; others begin to wait with it, and are not to be held for a host's habit once that is over.
TEST_F(RecurrencesTest, WhatBeganWithARareDepartureOfAnotherIsForgottenOnceItHasEnded) {
  recurrences_.Resize(6);
  for (size_t slot = 2; slot < 6; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(120);
  GroupStrengths waits = Departs(2, true, EvidenceGroup::kWaiting);
  waits.taken = true;
  for (int s = 0; s < 25; ++s) {
    Tick(Departs(3), 0.25, 0);
    for (size_t slot = 1; slot < 4; ++slot) Tick(s < 4 ? GroupStrengths{} : waits, 0.25, slot);
  }
  for (int s = 0; s < 20; ++s) {
    for (size_t slot = 0; slot < 4; ++slot) Tick({}, 0.25, slot);
  }
  EXPECT_LE(recurrences_.PerWeek(5, waits, counts_, now_ns_), 0.1) << "one that did not wait";
  EXPECT_LE(Tick(waits, 1, 1), 0.1) << "one that did";
}

TEST_F(RecurrencesTest, WhatBeganLaterThanARareDepartureOfAnotherIsItsOwn) {
  recurrences_.Resize(6);
  for (size_t slot = 2; slot < 6; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(120);
  const GroupStrengths waits = Departs(2, true, EvidenceGroup::kWaiting);
  for (int s = 0; s < 60; ++s) {
    Tick(Departs(3), 0.25, 0);
    for (size_t slot = 1; slot < 4; ++slot) Tick(s < 20 * static_cast<int>(slot - 1) + 18 ? GroupStrengths{} : waits, 0.25, slot);
  }
  for (int s = 0; s < 20; ++s) {
    for (size_t slot = 0; slot < 4; ++slot) Tick({}, 0.25, slot);
  }
  EXPECT_GT(recurrences_.PerWeek(5, waits, counts_, now_ns_), 0.9);
}

TEST_F(RecurrencesTest, WhatANewWorkloadDoesAgainAndAgainIsAsCommonAsItDoesIt) {
  Calm(3600);
  EXPECT_LE(Excursion(3), 0.1);
  EXPECT_LE(Excursion(3), 1);
  EXPECT_GT(Excursion(3), 7);
  EXPECT_GT(Excursion(3), 7);
}

TEST_F(RecurrencesTest, TheMoreWorkloadsHaveAPhaseTheRarerOneHasToLast) {
  constexpr size_t kMany = 32;
  recurrences_.Resize(kMany);
  for (size_t slot = 2; slot < kMany; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(86400);
  for (int i = 0; i < 20; ++i) Excursion(2, 60, true, 600);
  Recurrences alone;
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(recurrences_);
  ArchiveReader reader(bytes);
  reader(alone);
  ASSERT_TRUE(reader.done());
  for (size_t slot = 1; slot < kMany; ++slot) Once(slot);
  GroupStrengths held;
  held.strength[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = 5;
  held.up[kEvidenceGroups + static_cast<int>(EvidenceGroup::kCpu)] = true;
  const auto at = [&](Recurrences* recurrences, int seconds) {
    double per_week = 0;
    uint64_t now_ns = now_ns_;
    for (int s = 0; s < seconds; ++s) {
      now_ns += kSecond;
      GroupStrengths now = held;
      now.strength[static_cast<int>(EvidenceGroup::kCpu)] = 2;
      now.up[static_cast<int>(EvidenceGroup::kCpu)] = true;
      recurrences->Observe(0, now, true, now_ns);
      per_week = recurrences->PerWeek(0, held, counts_, now_ns);
    }
    return per_week;
  };
  const double of_one = at(&alone, 300);
  EXPECT_LT(of_one, 2);
  EXPECT_GT(at(&recurrences_, 300), 10 * of_one);
}

TEST_F(RecurrencesTest, SurviveSavingAndLoading) {
  Calm(86400);
  for (int i = 0; i < 3; ++i) Excursion(2);
  std::string bytes, again;
  ArchiveWriter writer(&bytes);
  writer(recurrences_);
  Recurrences loaded;
  ArchiveReader reader(bytes);
  reader(loaded);
  ASSERT_TRUE(reader.done());
  ArchiveWriter rewriter(&again);
  rewriter(loaded);
  EXPECT_EQ(again, bytes);
  EXPECT_EQ(loaded.PerWeek(0, Departs(2), counts_, now_ns_), recurrences_.PerWeek(0, Departs(2), counts_, now_ns_));
}

// Published 95 % limits (Garwood 1936, as tabled by Ulm 1990).
TEST(PoissonInterval, HasThePublishedLimits) {
  const struct { uint64_t events; double lower, upper; } published[] = {{0, 0, 3.689}, {1, 0.025, 5.572}, {3, 0.619, 8.767}, {10, 4.795, 18.390}, {100, 81.36, 121.63}};
  for (const auto& [events, lower, upper] : published) {
    const PoissonInterval interval = PoissonIntervalOf(events);
    EXPECT_NEAR(interval.lower, lower, 0.006 + 1e-4 * lower) << events;
    EXPECT_NEAR(interval.upper, upper, 0.006 + 1e-4 * upper) << events;
  }
}

// A host on which many begin to work within their first minute: what the next one does is no news.
TEST_F(RecurrencesTest, WhatManyDoInTheirWarmUpIsCommonAmongNewWorkloads) {
  constexpr size_t kMany = 12;
  recurrences_.Resize(kMany + 2);
  for (size_t slot = 0; slot < kMany + 2; ++slot) recurrences_.Forget(slot, now_ns_);
  const auto first_of_the_next = [&] {
    double rarest = kNever;
    for (int s = 0; s < 10; ++s) rarest = std::min(rarest, Tick(Departs(2), 1, kMany + 1));
    return rarest;
  };
  const Recurrences before = recurrences_;
  Calm(120);
  EXPECT_LT(first_of_the_next(), 0.1) << "the first of its sort on a calm host";
  recurrences_ = before;
  for (int s = 0; s < 15; ++s) {
    now_ns_ += kSecond;
    for (size_t slot = 1; slot <= kMany; ++slot) recurrences_.Listen(slot, Departs(2), true, now_ns_);
    recurrences_.EndTick(workloads_, 1);
  }
  for (int s = 0; s < 105; ++s) {
    for (size_t slot = 1; slot <= kMany; ++slot) recurrences_.Rest(slot, now_ns_);
    Calm(1);
  }
  EXPECT_GT(first_of_the_next(), 1.0);
}

TEST_F(RecurrencesTest, WhatOneDoesInItsWarmUpDoesNotHideTheFirstFaultOfAYoungHost) {
  for (int s = 0; s < 15; ++s) {
    now_ns_ += kSecond;
    recurrences_.Listen(1, Departs(2), true, now_ns_);
    recurrences_.EndTick(workloads_, 1);
  }
  for (int s = 0; s < 105; ++s) {
    recurrences_.Rest(1, now_ns_);
    Calm(1);
  }
  EXPECT_LT(Excursion(2, 10), 1.0);
}

TEST_F(RecurrencesTest, OfTheWarmUpOfAReplicaNothingIsLearned) {
  recurrences_.Resize(20);
  for (size_t slot = 2; slot < 20; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(600);
  const double before = recurrences_.PerWeek(0, Departs(2), counts_, now_ns_);
  for (size_t slot = 2; slot < 20; ++slot) {
    recurrences_.Adopt(1, slot, now_ns_);
    recurrences_.Listen(slot, Departs(2), true, now_ns_);
  }
  EXPECT_EQ(recurrences_.PerWeek(0, Departs(2), counts_, now_ns_), before);
}

TEST_F(RecurrencesTest, WhatWasRareAsIssuedDoesNotMakeTheHostBelievedToWander) {
  recurrences_.Resize(12);
  for (size_t slot = 0; slot < 12; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(2 * 86400);
  const double before = recurrences_.PerWeek(0, Departs(0.9), counts_, now_ns_);
  for (size_t slot = 1; slot < 4; ++slot) {
    EXPECT_LT(Tick(Departs(2), 1, slot), 1);
    for (int s = 0; s < 40; ++s) Tick({}, 1, slot);
  }
  EXPECT_LT(recurrences_.PerWeek(0, Departs(0.9), counts_, now_ns_), 2 * before);
}

// Forty workloads repeat themselves, in sizes that reach far: what is a little stronger than all of them is not as rare as what never came.
TEST_F(RecurrencesTest, WhatIsALittleStrongerThanAllThatWasRepeatedIsHardlyRarerThanTheStrongestOfIt) {
  constexpr size_t kMany = 40;
  recurrences_.Resize(kMany + 1);
  for (size_t slot = 0; slot <= kMany; ++slot) recurrences_.Forget(slot, now_ns_);
  Calm(86400);
  for (int times = 0; times < 2; ++times) {
    for (size_t slot = 0; slot <= kMany; ++slot) {
      if (slot == 0 && times == 1) continue;
      Tick(Departs(0.5 * std::exp(0.05 * static_cast<double>(slot))), 1, slot);
      for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
    }
  }
  const double strongest = 0.5 * std::exp(0.05 * kMany);
  for (const double size : {0.2, 1.0, 0.4}) Excursion(size * strongest);  // as far apart as those of the others
  EXPECT_GT(recurrences_.PerWeek(0, Departs(1.3 * strongest), counts_, now_ns_), 2);
  EXPECT_LT(recurrences_.PerWeek(0, Departs(20 * strongest), counts_, now_ns_), 1);
}

}  // namespace
}  // namespace outlier
