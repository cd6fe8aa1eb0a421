// What has to be found in every world at a promise of one a week: the short version of detection_power.
#include <gtest/gtest.h>

#include "tests/quality/judged_host.h"
#include "userspace/config/config.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr uint64_t kLearned = 25 * 3600;  // a workload is known after a day
constexpr uint64_t kGap = 150, kGrace = 60;

class PlantedFaults : public ::testing::TestWithParam<World> {};

TEST_P(PlantedFaults, OfTenSdAreFound) {
  JudgedHost judged(DefaultConfig(), {.world = GetParam(), .workloads = 12, .seed = 9});
  const int features[] = {FeatureColumn("process.cpu.utilization"), FeatureColumn("process.context_switches", "voluntary"),
                          FeatureColumn("process.disk.io", "write")};
  std::vector<Fault> faults;
  for (uint64_t i = 0; i < 4; ++i) {  // the last is a ramp
    Fault fault;
    fault.kind = i < 3 ? FaultKind::kStep : FaultKind::kRamp;
    fault.slot = kFirstOwnedSlot + static_cast<Slot>(3 * i);
    fault.feature = features[i % 3];
    fault.begin = kLearned + i * kGap;
    fault.seconds = i < 3 ? 600 : 3600;
    judged.host().Plant(fault);
    faults.push_back(fault);
  }
  const uint64_t end = faults.back().begin + faults.back().seconds + kGrace;
  while (judged.host().tick() < end) judged.Tick();
  for (const Fault& fault : faults) {
    const auto told = judged.FirstTold(fault.slot, fault.begin);
    EXPECT_TRUE(told && *told <= fault.begin + fault.seconds + kGrace)
        << NameOf(GetParam()) << ": " << NameOf(fault.kind) << " of " << FeatureSpecs()[fault.feature].signal;
  }
}

// No tick shows much of these: told by the means of minutes.
bool IsFound(World world, FaultKind kind, std::string_view signal, double size) {
  JudgedHost judged(DefaultConfig(), {.world = world, .workloads = 12, .seed = 4});
  Fault fault;
  fault.kind = kind;
  fault.slot = kFirstOwnedSlot + 2;
  fault.feature = FeatureColumn(signal, "file");
  fault.size = size;
  fault.begin = kLearned;
  fault.seconds = 600;
  judged.host().Plant(fault);
  while (judged.host().tick() < fault.begin + fault.seconds) judged.Tick();
  const auto told = judged.FirstTold(fault.slot, fault.begin);
  return told && *told <= fault.begin + 420;
}

TEST(PlantedFaultsOfMinutes, ThreeFailuresASecondAreFoundWhereNextToNoneIsUsual) {
  for (const World world : {World::kHeavyTails, World::kSparseCounts}) EXPECT_TRUE(IsFound(world, FaultKind::kCountBurst, "process.syscall.errors", 3)) << NameOf(world);
}

TEST(PlantedFaultsOfMinutes, AThirdOfTheCallsEightTimesAsSlowIsFound) {
  for (const World world : {World::kHeavyTails, World::kLatencies}) EXPECT_TRUE(IsFound(world, FaultKind::kSecondMode, "process.syscall.duration", 0.3)) << NameOf(world);
}

// The worlds of the promise; a step of a series that is switched back and forth for minutes to hours is another question.
INSTANTIATE_TEST_SUITE_P(Worlds, PlantedFaults,
                         testing::Values(World::kHeavyTails, World::kAutocorrelation, World::kDailyCycle, World::kBursts,
                                         World::kSparseCounts, World::kFlat, World::kLatencies, World::kPeriodicJobs,
                                         World::kDailyJobs, World::kSawTooth, World::kRollouts),
                         [](const auto& world) { return std::string(WordOf(world.param)); });

}  // namespace
}  // namespace outlier::quality
