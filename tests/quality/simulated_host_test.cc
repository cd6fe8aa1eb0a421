// A simulated host is the same for a seed, and a fault changes what it says and nothing else.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/quality/simulated_host.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr Slot kFaulty = kFirstOwnedSlot + 1;

SimulatedHost HostOf(World world, uint64_t seed = 11) { return SimulatedHost({.world = world, .workloads = 26, .seed = seed}); }

bool SameDurations(const FeatureTick& a, const FeatureTick& b, int but) {
  for (int c = 0; c < kSyscallClasses; ++c) {
    for (int slot = 0; slot < a.values.rows(); ++slot) {
      if (slot != but && (a.durations[c].col(slot) != b.durations[c].col(slot)).any()) return false;
    }
  }
  return true;
}

bool SameBut(const FeatureTick& a, const FeatureTick& b, int slot) {
  for (int s = 0; s < a.values.rows(); ++s) {
    if (s == slot || s == static_cast<int>(kHostSlot)) continue;
    if ((a.values.row(s) != b.values.row(s)).any() || (a.present.row(s) != b.present.row(s)).any()) return false;
  }
  return SameDurations(a, b, slot);
}

TEST(SimulatedHost, OfASeedIsTheSameInEveryWorld) {
  for (int w = 0; w < kWorlds; ++w) {
    SimulatedHost one = HostOf(static_cast<World>(w)), two = HostOf(static_cast<World>(w)), other = HostOf(static_cast<World>(w), 12);
    for (int t = 0; t < 400; ++t) {
      for (SimulatedHost* host : {&one, &two, &other}) host->Next();
      ASSERT_TRUE(SameBut(one.features(), two.features(), -1)) << NameOf(static_cast<World>(w));
    }
    EXPECT_FALSE(SameBut(one.features(), other.features(), -1));
    EXPECT_TRUE(one.features().values.isFinite().all());
    EXPECT_GE(one.features().values.minCoeff(), 0.0);
  }
}

TEST(SimulatedHost, AFaultChangesItsOwnWorkloadOnlyWhileItLasts) {
  for (int k = 0; k < kFaultKinds; ++k) {
    SimulatedHost healthy = HostOf(World::kPeriodicJobs), faulty = HostOf(World::kPeriodicJobs);
    Fault fault{static_cast<FaultKind>(k), kFaulty, FeatureColumn("process.cpu.utilization"), 3, 100, 800};
    if (fault.kind == FaultKind::kSecondMode) fault.feature = FeatureColumn("process.syscall.duration", "file"), fault.size = 0.4;
    if (fault.kind == FaultKind::kRhythm) fault.slot -= 1;  // its job comes each 5 min
    faulty.Plant(fault);
    int changed = 0;
    for (uint64_t t = 1; t < 1000; ++t) {
      healthy.Next();
      faulty.Next();
      ASSERT_TRUE(SameBut(healthy.features(), faulty.features(), static_cast<int>(fault.slot))) << NameOf(fault.kind);
      const bool differs = !SameBut(healthy.features(), faulty.features(), -1);
      ASSERT_TRUE(fault.ActiveAt(t) || !differs) << NameOf(fault.kind);
      changed += differs;
    }
    // A missing job is missing for its 20 s, twice or three times; small faults vanish in the resolution now and then.
    EXPECT_GE(changed, fault.kind == FaultKind::kRhythm ? 20 : 400) << NameOf(fault.kind);
  }
}

TEST(SimulatedHost, AStepIsItsSizeInSd) {
  SimulatedHost healthy = HostOf(World::kHeavyTails), faulty = HostOf(World::kHeavyTails);
  const int feature = FeatureColumn("process.disk.io", "write");
  faulty.Plant({FaultKind::kStep, kFaulty, feature, 10, 1, 1000});
  for (int t = 0; t < 100; ++t) {
    healthy.Next();
    faulty.Next();
    const double by = faulty.features().values(kFaulty, feature) - healthy.features().values(kFaulty, feature);
    EXPECT_NEAR(by, 10 * faulty.SdOf(kFaulty, feature), 1e-6 * by);
  }
}

TEST(SimulatedHost, SwitchesMoveWithTheCpuUntilTheirCorrelationBreaks) {
  SimulatedHost host = HostOf(World::kSawTooth);
  const int cpu = FeatureColumn("process.cpu.utilization"), switches = FeatureColumn("process.context_switches", "voluntary");
  constexpr int kSeconds = 1000;
  host.Plant({FaultKind::kCorrelation, kFaulty, switches, 1, kSeconds + 1, kSeconds});
  for (const double sign : {1.0, -1.0}) {
    Eigen::ArrayXd x(kSeconds), y(kSeconds);
    for (int t = 0; t < kSeconds; ++t) {
      host.Next();
      x(t) = host.features().values(kFaulty, cpu);
      y(t) = host.features().values(kFaulty, switches);
    }
    x -= x.mean();
    y -= y.mean();
    EXPECT_GT(sign * (x * y).sum() / std::sqrt(x.square().sum() * y.square().sum()), 0.8);
  }
}

TEST(SimulatedHost, BootsWithColdMemoryAndNoRatesInTheFirstTick) {
  SimulatedHost host = HostOf(World::kFlat);
  const int memory = FeatureColumn("process.memory.usage"), cpu = FeatureColumn("process.cpu.utilization");
  for (int t = 0; t < 50; ++t) host.Next();
  const double before = host.features().values(kFaulty, memory);
  const int64_t wall = host.workloads().wall_time_ns;
  host.Reboot();
  host.Next();
  EXPECT_NEAR(host.features().values(kFaulty, memory), before / 2, 0.15 * before);
  EXPECT_FALSE(host.features().present(kFaulty, cpu));
  EXPECT_LT(host.workloads().totals[kFaulty].uptime_seconds, 5);
  EXPECT_LT(host.workloads().boot_time_ns, 60'000'000'000U);
  EXPECT_GT(host.workloads().wall_time_ns, wall + 60'000'000'000);
  host.Next();
  EXPECT_TRUE(host.features().present(kFaulty, cpu));
}

TEST(SimulatedHost, AReplicaIsBornLikeItsSibling) {
  SimulatedHost host({.world = World::kFlat, .workloads = 4, .seed = 5, .replicas = 1});
  for (int t = 0; t < 50; ++t) host.Next();
  const Slot replica = host.StartReplica(kFaulty);
  EXPECT_FALSE(host.features().present.row(replica).any());
  host.Next();
  EXPECT_TRUE(host.features().born(replica));
  ASSERT_EQ(host.workloads().named.size(), 1u);
  EXPECT_EQ(host.workloads().named[0].second.workload.executable(), "/usr/bin/service-004");
  host.Next();
  EXPECT_FALSE(host.features().born(replica));
  const int threads = FeatureColumn("process.thread.count");
  EXPECT_EQ(host.features().present.row(replica).count(), host.features().present.row(kFaulty).count());
  EXPECT_NEAR(host.features().values(replica, threads), host.features().values(kFaulty, threads), 40);
}

TEST(SimulatedHost, ALoneSeriesIsTheOnlyOneToFollowItsLaw) {
  SimulatedHost host({.world = World::kPeriodicJobs, .workloads = 20, .seed = 6, .lone = true});
  Eigen::ArrayXXd least, most;
  for (int t = 0; t < 3700; ++t) {
    host.Next();
    const Eigen::ArrayXXd& x = host.features().values;
    least = t == 0 ? x : least.min(x).eval();
    most = t == 0 ? x : most.max(x).eval();
  }
  for (Slot slot = kFirstOwnedSlot; slot < static_cast<Slot>(host.slots()); ++slot) {
    for (const char* signal : {"process.cpu.utilization", "process.context_switches", "process.syscall.rate", "process.memory.usage"}) {
      const int f = FeatureColumn(signal);
      if (f == host.LoneFeature(slot)) {
        EXPECT_GT(most(slot, f), 8 * least(slot, f));
      } else {
        EXPECT_LT(most(slot, f), 1.3 * least(slot, f)) << signal;
      }
    }
  }
}

}  // namespace
}  // namespace outlier::quality
