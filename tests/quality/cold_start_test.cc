// The first minutes: of a host that nobody knows yet, and of a process whose workload is known.
#include <gtest/gtest.h>

#include "tests/quality/judged_host.h"
#include "userspace/config/config.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr uint64_t kTenMinutes = 600;

// The first workload of which the models can tell that its work triples: it uses a tenth of a core, and calls and switches now and then.
Slot BusySlot(const SimulatedHost& host) {
  for (Slot slot = kFirstOwnedSlot; slot < static_cast<Slot>(host.slots()); ++slot) {
    if (host.MeanOf(slot, FeatureColumn("process.cpu.utilization")) > 0.1 &&
        host.MeanOf(slot, FeatureColumn("process.context_switches", "voluntary")) > 50 &&
        host.MeanOf(slot, FeatureColumn("process.syscall.rate", "file")) > 50) {
      return slot;
    }
  }
  return kFirstOwnedSlot;
}

TEST(ColdStart, AThousandHealthySeriesOfEveryKindRaiseAtMostOneIncidentInAll) {
  int all = 0;
  std::string each;
  for (const World world : {World::kSparseCounts, World::kPeriodicJobs, World::kSawTooth, World::kRegimes, World::kCompaction}) {
    JudgedHost host(DefaultConfig(), {.world = world, .workloads = 1000, .seed = 3, .lone = true});
    while (host.host().tick() < kTenMinutes) host.Tick();
    all += static_cast<int>(host.told().size());
    each += std::string(NameOf(world)) + " " + std::to_string(host.told().size()) + "; ";
  }
  EXPECT_LE(all, 1) << each;
}

TEST(ColdStart, AStableServiceWhoseWorkTriplesIsFound) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    JudgedHost host(DefaultConfig(), {.world = World::kPeriodicJobs, .workloads = 20, .seed = seed, .lone = true});
    const Slot slot = BusySlot(host.host());
    const uint64_t begin = 180;
    host.host().Plant({FaultKind::kTogether, slot, 0, 3, begin, kTenMinutes});
    while (host.host().tick() < kTenMinutes) host.Tick();
    EXPECT_TRUE(host.FirstTold(slot, begin)) << seed;
  }
}

enum class Start { kReplica, kRestart };

class FirstMinute : public ::testing::TestWithParam<Start> {
 protected:
  // Whether something is told of a process that starts after an hour, and triples its work 30 s later when it is faulty.
  static bool Told(bool faulty, uint64_t seed) {
    JudgedHost host(DefaultConfig(), {.world = World::kAutocorrelation, .workloads = 20, .seed = seed, .replicas = 1});
    while (host.host().tick() < 3600) host.Tick();
    Slot slot = BusySlot(host.host());
    if (GetParam() == Start::kReplica) {
      slot = host.host().StartReplica(slot);
    } else {
      host.host().Restart(slot);
    }
    const uint64_t start = host.host().tick() + 1, begin = start + 30;
    if (faulty) host.host().Plant({FaultKind::kTogether, slot, 0, 3, begin, 120});
    while (host.host().tick() < (faulty ? begin + 120 : start + kTenMinutes)) host.Tick();
    return host.FirstTold(slot, faulty ? begin : start).has_value();
  }
};

TEST_P(FirstMinute, OfAFaultyProcessOfAKnownWorkloadIsTold) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) found += Told(true, seed);
  EXPECT_EQ(found, 6);
}

TEST_P(FirstMinute, OfAHealthyProcessOfAKnownWorkloadIsNot) {
  int told = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) told += Told(false, seed);
  EXPECT_EQ(told, 0);
}

std::string CaseName(const testing::TestParamInfo<Start>& start) { return start.param == Start::kReplica ? "Replica" : "Restart"; }

INSTANTIATE_TEST_SUITE_P(Starts, FirstMinute, testing::Values(Start::kReplica, Start::kRestart), CaseName);

}  // namespace
}  // namespace outlier::quality
