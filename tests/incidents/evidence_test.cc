// How departures become strength: held, grouped, weighted, forgotten.
#include "userspace/incidents/evidence.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace outlier {
namespace {

constexpr double kNotSeen = std::numeric_limits<double>::quiet_NaN();
constexpr int kSlots = 2;

struct Watched {
  std::string_view signal, value;
  FeatureKind kind;
  Channel channel;
};
constexpr Watched kWatched[] = {
    {"process.cpu.utilization", "", FeatureKind::kUtilization, Channel::kLevel},
    {"process.cpu.utilization", "", FeatureKind::kUtilization, Channel::kDifference},
    {"process.cpu.run_delay", "", FeatureKind::kUtilization, Channel::kLevel},
    {"process.memory.usage", "", FeatureKind::kBytes, Channel::kLevel},
    {"process.memory.usage", "", FeatureKind::kBytes, Channel::kDrift},
    {"process.memory.anonymous", "", FeatureKind::kBytes, Channel::kLevel},
    {"process.context_switches", "voluntary", FeatureKind::kRate, Channel::kSilence},
    {"process.syscall.errors", "file", FeatureKind::kCount, Channel::kCount},
    {"process.syscall.duration", "file", FeatureKind::kDuration, Channel::kShape},
    {"process.disk.io", "write", FeatureKind::kByteRate, Channel::kLevel},
};
constexpr int kDetectors = std::size(kWatched);
enum Detector { kCpu, kCpuJump, kWaiting, kMemory, kLeak, kAnonymous, kSilent, kErrors, kLatency, kWrites };

// One feature a detector; all of them have z = 0 unless told.
class EvidenceTest : public testing::Test {
 protected:
  static std::vector<FeatureSpec> Specs() {
    std::vector<FeatureSpec> specs;
    for (const Watched& w : kWatched) specs.push_back({w.signal, "", w.value.empty() ? "" : "key", w.value, w.kind, -1});
    return specs;
  }
  void Tick(const std::map<int, double>& z, int ticks = 1, int slot = 0) {
    for (int t = 0; t < ticks; ++t) {
      FeatureTick features;
      features.values = Eigen::ArrayXXd::Zero(kSlots, kDetectors);
      features.present.setConstant(kSlots, kDetectors, true);
      features.born = Mask::Constant(kSlots, false);
      if (born_) features.born(0) = true;
      scores_.detectors.resize(kDetectors);
      for (int d = 0; d < kDetectors; ++d) {
        DetectorScores& detector = scores_.detectors[d];
        detector.feature = d;
        detector.channel = kWatched[d].channel;
        detector.z = Eigen::ArrayXf::Zero(kSlots);
        detector.loud.assign((kSlots + kLoudSlots - 1) / kLoudSlots, 1);
        detector.ready.setConstant(kSlots, ready_);
        const auto given = z.find(d);
        if (given == z.end()) continue;
        if (std::isnan(given->second)) features.present(slot, d) = false;
        else detector.z(slot) = static_cast<float>(given->second);
      }
      evidence_.Append(features, scores_);
    }
  }
  std::vector<Strength> Of(int slot = 0) const { return evidence_.Of(slot, scores_, ignored_); }
  double StrengthOf(int detector, int slot = 0) const {
    for (const Strength& strength : Of(slot)) {
      if (strength.detector == detector) return strength.strength;
    }
    return 0;
  }
  double Combined() const { return Combine(evidence_.Groups(Of(), scores_)); }

  std::vector<FeatureSpec> specs_ = Specs();
  Evidence evidence_{specs_};
  ScoreTick scores_;
  std::vector<bool> ignored_ = std::vector<bool>(kDetectors, false);
  bool born_ = false;
  bool ready_ = true;
};

struct Hold {
  int detector, ticks;
  double z;  // worth a strength of 1 when held so long
};
class EveryHold : public EvidenceTest, public testing::WithParamInterface<Hold> {};
INSTANTIATE_TEST_SUITE_P(Channels, EveryHold,
                         testing::Values(Hold{kCpu, 5, 16}, Hold{kCpu, 8, 10.5}, Hold{kCpu, 12, 8}, Hold{kErrors, 4, 14},
                                         Hold{kErrors, 7, 10}, Hold{kErrors, 15, 7}, Hold{kLatency, 4, 8}, Hold{kLatency, 8, 6},
                                         Hold{kLatency, 16, 5}, Hold{kLeak, 3, 14}, Hold{kSilent, 3, 7}));

TEST_P(EveryHold, IsWorthOneExactlyWhenItHasHeldItsTicks) {
  const Hold hold = GetParam();
  Tick({{hold.detector, hold.z}}, hold.ticks - 1);
  EXPECT_LT(StrengthOf(hold.detector), 1);
  Tick({{hold.detector, hold.z}});
  EXPECT_DOUBLE_EQ(StrengthOf(hold.detector), 1);
}

TEST_P(EveryHold, CountsOnlyTheLeastOfWhatItHeld) {
  const Hold hold = GetParam();
  Tick({{hold.detector, 50}}, hold.ticks - 1);
  Tick({{hold.detector, hold.z}});
  EXPECT_DOUBLE_EQ(StrengthOf(hold.detector), 1) << "the newest is part of every hold";
  Tick({{hold.detector, 0}});
  EXPECT_EQ(StrengthOf(hold.detector), 0);
  Tick({{hold.detector, 50}});
  EXPECT_EQ(StrengthOf(hold.detector), 0) << "a gap starts the hold anew";
}

TEST_F(EvidenceTest, AJumpIsNothingUntilItHasHeld) {
  Tick({{kCpu, 900}, {kCpuJump, 900}}, 4);
  EXPECT_TRUE(Of().empty());
}

TEST_F(EvidenceTest, TheDifferenceChannelNeverCounts) {
  Tick({{kCpuJump, 900}}, 30);
  EXPECT_TRUE(Of().empty());
}

TEST_F(EvidenceTest, NoOneSignalSaysMoreThanForty) {
  Tick({{kCpu, 1000}}, 30);
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 40);
}

TEST_F(EvidenceTest, BelowThreeIsNobodysEvidence) {
  Tick({{kCpu, 2.99}}, 30);
  EXPECT_TRUE(Of().empty());
}

TEST_F(EvidenceTest, UpAndDownInTurnHoldNothing) {
  for (int i = 0; i < 20; ++i) Tick({{kCpu, i % 2 == 0 ? 30 : -30}});
  EXPECT_TRUE(Of().empty());
}

TEST_F(EvidenceTest, DoingLessIsHalfTheEvidenceExceptForSilenceAndShape) {
  Tick({{kCpu, -16}, {kSilent, -7}, {kLatency, -8}}, 4);
  EXPECT_DOUBLE_EQ(StrengthOf(kSilent), 1);
  EXPECT_DOUBLE_EQ(StrengthOf(kLatency), 1);
  Tick({{kCpu, -16}});
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 0.5);
}

TEST_F(EvidenceTest, StrongestComesFirstWithItsSignedZ) {
  Tick({{kCpu, 16}, {kErrors, -56}, {kMemory, 32}}, 5);
  const auto strengths = Of();
  ASSERT_EQ(strengths.size(), 3u);
  EXPECT_EQ(strengths[0].detector, kMemory);
  EXPECT_EQ(strengths[1].detector, kErrors);
  EXPECT_EQ(strengths[1].z, -56);
  EXPECT_EQ(strengths[2].detector, kCpu);
}

TEST_F(EvidenceTest, SignalsOfOneGroupCountOnce) {
  Tick({{kMemory, 16}, {kAnonymous, 16}, {kLeak, 7}}, 5);
  EXPECT_EQ(Of().size(), 3u);
  EXPECT_DOUBLE_EQ(Combined(), 1);
}

TEST_F(EvidenceTest, TheThreeStrongestGroupsAddUpWithFallingWeights) {
  const std::pair<std::map<int, double>, double> hosts[] = {
      {{{kCpu, 48}}, 3},
      {{{kCpu, 48}, {kMemory, 32}}, 3 + 0.5 * 2},
      {{{kCpu, 48}, {kMemory, 32}, {kWrites, 16}}, 3 + 0.5 * 2 + 0.25 * 1},
      {{{kCpu, 48}, {kMemory, 32}, {kWrites, 16}, {kWaiting, 16}}, 3 + 0.5 * 2 + 0.25 * 1},  // the fourth adds nothing
  };
  for (const auto& [z, combined] : hosts) {
    evidence_ = Evidence(specs_);
    Tick(z, 5);
    EXPECT_DOUBLE_EQ(Combined(), combined) << z.size() << " signals";
  }
}

TEST_F(EvidenceTest, APersonsWordIsAboutEachKindOnceAndAboutAllOfThem) {
  v1::Incident incident;
  const auto add = [&](const char* signal, v1::Contribution::Direction direction) {
    v1::Contribution& c = *incident.add_contributions();
    c.set_signal(signal);
    c.set_direction(direction);
  };
  add("process.cpu.utilization", v1::Contribution::UP);
  add("process.memory.usage", v1::Contribution::UP);
  add("process.memory.anonymous", v1::Contribution::UP);
  add("process.syscall.errors", v1::Contribution::UP);
  add("process.syscall.duration", v1::Contribution::SHAPE);
  add("workload.restarts", v1::Contribution::UP);  // a fact, and none of these features
  std::map<std::pair<int, bool>, int> times;
  for (const EvidenceKind& kind : evidence_.KindsOf(incident)) ++times[{kind.group, kind.up}];
  std::map<std::pair<int, bool>, int> expected;
  for (int layer = 0; layer < kEvidenceLayers; ++layer) {
    for (const EvidenceGroup group : {EvidenceGroup::kCpu, EvidenceGroup::kMemory, EvidenceGroup::kErrors, EvidenceGroup::kLatency}) {
      expected[{layer * kEvidenceGroups + static_cast<int>(group), true}] = 1;
    }
    expected[{layer * kEvidenceGroups + static_cast<int>(EvidenceGroup::kLatency), false}] = 1;
  }
  EXPECT_EQ(times, expected);
}

TEST_F(EvidenceTest, AWordOnASilenceIsAboutTheSilenceAndWhatFellWithIt) {
  v1::Incident incident;
  incident.set_pattern(v1::Incident::SILENCE);
  v1::Contribution& c = *incident.add_contributions();
  c.set_signal("process.cpu.utilization");
  c.set_direction(v1::Contribution::DOWN);
  std::set<int> groups;
  for (const EvidenceKind& kind : evidence_.KindsOf(incident)) {
    EXPECT_FALSE(kind.up);
    groups.insert(kind.group % kEvidenceGroups);
  }
  EXPECT_EQ(groups, (std::set<int>{static_cast<int>(EvidenceGroup::kCpu), static_cast<int>(EvidenceGroup::kSilence)}));
}

TEST_F(EvidenceTest, OfNothingCombinesToNothing) {
  Tick({}, 5);
  EXPECT_EQ(Combined(), 0);
}

TEST_F(EvidenceTest, AFeatureAbsentForTenTicksIsForgotten) {
  Tick({{kCpu, 16}}, 5);
  Tick({{kCpu, kNotSeen}}, 9);
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 1) << "a short gap takes nothing away";
  Tick({{kCpu, kNotSeen}});
  EXPECT_EQ(StrengthOf(kCpu), 0);
  Tick({{kCpu, 16}}, 4);
  EXPECT_EQ(StrengthOf(kCpu), 0) << "what it held before is gone";
  Tick({{kCpu, 16}});
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 1);
}

TEST_F(EvidenceTest, TicksWithoutAValueDoNotInterruptAHold) {
  for (int i = 0; i < 5; ++i) {
    Tick({{kCpu, kNotSeen}}, 3);
    Tick({{kCpu, 16}});
  }
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 1);
}

TEST_F(EvidenceTest, IgnoredFeaturesAreNotListed) {
  ignored_[kCpu] = true;
  Tick({{kCpu, 100}, {kMemory, 16}}, 5);
  ASSERT_EQ(Of().size(), 1u);
  EXPECT_EQ(Of()[0].detector, kMemory);
}

TEST_F(EvidenceTest, ASlotGivenToANewWorkloadStartsWithNothing) {
  Tick({{kCpu, 16}}, 5);
  born_ = true;
  Tick({{kCpu, 16}});
  born_ = false;
  EXPECT_EQ(StrengthOf(kCpu), 0);
  Tick({{kCpu, 16}}, 4);
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu), 1);
}

TEST_F(EvidenceTest, WhatIsNotReadyCountsForNothing) {
  ready_ = false;
  Tick({{kCpu, 100}}, 20);
  EXPECT_TRUE(Of().empty());
}

TEST_F(EvidenceTest, SlotsDoNotShareEvidence) {
  Tick({{kCpu, 16}}, 5, 1);
  EXPECT_DOUBLE_EQ(StrengthOf(kCpu, 1), 1);
  EXPECT_TRUE(Of(0).empty());
}

TEST_F(EvidenceTest, AStateWhoseRingsHaveNoSuchPlaceBeginsAnew) {
  using Bytes = Eigen::Array<uint8_t, Eigen::Dynamic, Eigen::Dynamic>;
  std::string bytes;
  ArchiveWriter writer(&bytes);
  std::vector<Eigen::ArrayXXf> z(kDetectors, Eigen::ArrayXXf::Constant(20, kSlots, 50.0f));
  std::vector<Bytes> newest(kDetectors, Bytes::Constant(1, kSlots, 200)), absent(kDetectors, Bytes::Zero(1, kSlots));
  writer(z, newest, absent);
  ArchiveReader reader(bytes);
  reader(evidence_);
  EXPECT_TRUE(reader.ok());
  Tick({{0, 50}});
  EXPECT_LT(StrengthOf(0), 1) << "held for one tick only";
}

}  // namespace
}  // namespace outlier
