// Where nothing is wrong, the engine tells no more than it promises: the short version of tests/quality/null_weeks.
#include <gtest/gtest.h>

#include "tests/quality/judged_host.h"
#include "userspace/config/config.h"

namespace outlier::quality {
namespace {

constexpr double kPromise = 50, kHours = 2, kWeeks = kHours / 168;
constexpr int kWorkloads = 40;

TEST(NullWorlds, TellNoMoreThanPromised) {
  if (!EngineEstimatesRecurrences()) GTEST_SKIP() << "incidents do not say how often chance brings their like";
  config::v1::Config config = DefaultConfig();
  config.mutable_budgets()->set_false_alarms_per_week(kPromise);
  // In one world, what a rate of just the promise would exceed once in 10,000 runs; in all together, a rate shown to be below it.
  const int too_many = UnlikelyCount(kPromise * kWeeks, 1e-4);
  int all = 0;
  for (int w = 0; w < kWorlds; ++w) {
    JudgedHost host(config, {.world = static_cast<World>(w), .workloads = kWorkloads, .seed = 7});
    const int ticks = static_cast<int>(kHours * 3600);
    for (int t = 0; t < ticks; ++t) {
      if (t == ticks / 2) host.Reboot();
      host.Tick();
    }
    const int told = host.ToldAt(kPromise);
    EXPECT_LT(told, too_many) << NameOf(static_cast<World>(w)) << ", the first: " << host.told()[0].workload << " " << host.told()[0].as;
    all += told;
  }
  EXPECT_LE(UpperRate(all, kWeeks * kWorlds), kPromise) << all << " incidents";
}

TEST(PoissonBounds, AreTheTabledOnes) {
  EXPECT_NEAR(UpperRate(0, 1), 2.9957, 1e-3);
  EXPECT_NEAR(UpperRate(1, 1), 4.7439, 1e-3);
  EXPECT_NEAR(UpperRate(2, 8), 6.2958 / 8, 1e-3);
  EXPECT_NEAR(UpperRate(10, 1), 16.962, 1e-3);
  EXPECT_EQ(UnlikelyCount(0.5, 1e-4), 6);  // P(X >= 5) = 1.7e-4, P(X >= 6) = 1.4e-5
}

}  // namespace
}  // namespace outlier::quality
