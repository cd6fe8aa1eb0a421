// Where nothing is wrong, the engine tells no more than it promises: the short version of tests/quality/null_weeks.
#include <gtest/gtest.h>

#include "tests/quality/judged_host.h"
#include "userspace/config/config.h"

namespace outlier::quality {
namespace {

constexpr double kPromise = 50, kHours = 2, kWeeks = kHours / 168;
constexpr int kWorkloads = 40;

class NullWorlds : public ::testing::TestWithParam<World> {
 protected:
  // Together, no more than the promise would reach once in 10,000 runs.
  static void TearDownTestSuite() { EXPECT_LT(told_, UnlikelyCount(kPromise * kWeeks * worlds_, 1e-4)) << worlds_ << " worlds"; }
  static inline int told_ = 0, worlds_ = 0;
};

// In one world, less than what a rate of just the promise would reach once in 10,000 runs.
TEST_P(NullWorlds, TellNoMoreThanPromised) {
  config::v1::Config config = DefaultConfig();
  config.mutable_budgets()->set_false_alarms_per_week(kPromise);
  JudgedHost host(config, {.world = GetParam(), .workloads = kWorkloads, .seed = 7});
  const int ticks = static_cast<int>(kHours * 3600);
  for (int t = 0; t < ticks; ++t) {
    if (t == ticks / 2) host.Reboot();
    host.Tick();
  }
  const int told = host.ToldAt(kPromise);
  EXPECT_LT(told, UnlikelyCount(kPromise * kWeeks, 1e-4)) << "the first: " << host.told()[0].workload << " " << host.told()[0].as;
  told_ += told;
  worlds_ += 1;
}

std::string CaseName(const testing::TestParamInfo<World>& world) { return std::string(WordOf(world.param)); }

INSTANTIATE_TEST_SUITE_P(Worlds, NullWorlds,
                         testing::Values(World::kHeavyTails, World::kAutocorrelation, World::kDailyCycle, World::kSparseCounts,
                                         World::kFlat, World::kLatencies, World::kDailyJobs, World::kSawTooth, World::kRollouts),
                         CaseName);

// The two that begin with what nobody can know for healthy: as the others, once an hour has shown what it is.
class NullWorldsAfterAnHour : public ::testing::TestWithParam<World> {};

TEST_P(NullWorldsAfterAnHour, TellNoMoreThanPromised) {
  config::v1::Config config = DefaultConfig();
  config.mutable_budgets()->set_false_alarms_per_week(kPromise);
  JudgedHost host(config, {.world = GetParam(), .workloads = kWorkloads, .seed = 7});
  for (int t = 0; t < 3600; ++t) host.Tick();
  const int before = host.ToldAt(kPromise);
  for (int t = 0; t < static_cast<int>(kHours * 3600); ++t) host.Tick();
  EXPECT_LT(host.ToldAt(kPromise) - before, UnlikelyCount(kPromise * kWeeks, 1e-4));
}

INSTANTIATE_TEST_SUITE_P(Worlds, NullWorldsAfterAnHour, testing::Values(World::kBursts, World::kPeriodicJobs), CaseName);

// Where all that a workload does changes at once and for the first time, nobody can know it for healthy, and the promise does not hold in
// the first hours (docs/false-alarms.md says by how much): what is held here is that three in four of such workloads are not told of even once.
class NewHabits : public ::testing::TestWithParam<World> {};

TEST_P(NewHabits, OfAtMostAQuarterOfTheWorkloadsAreTold) {
  config::v1::Config config = DefaultConfig();
  JudgedHost host(config, {.world = GetParam(), .workloads = kWorkloads, .seed = 7});
  for (int t = 0; t < static_cast<int>(kHours * 3600); ++t) host.Tick();
  EXPECT_LE(host.told().size(), kWorkloads / 4u) << "the last: " << host.told().back().workload << " " << host.told().back().as;
}

INSTANTIATE_TEST_SUITE_P(Worlds, NewHabits, testing::Values(World::kBursts, World::kPeriodicJobs, World::kCompaction, World::kMixture), CaseName);

// Everything starts anew, with half of the memory that it will use.
TEST(AfterABoot, MemoryThatFillsIsNoDeparture) {
  for (const World world : {World::kFlat, World::kHeavyTails, World::kDailyCycle}) {
    JudgedHost host(DefaultConfig(), {.world = world, .workloads = 100, .seed = 1});
    for (int t = 0; t < 3600; ++t) host.Tick();
    host.Reboot();
    for (int t = 0; t < 3900; ++t) host.Tick();
    EXPECT_TRUE(host.told().empty()) << NameOf(world) << ": " << host.told()[0].workload << " " << host.told()[0].as;
  }
}

// As never in the hours of the days before.
TEST(AfterABoot, MemoryThatFillsIsNoRecordEither) {
  JudgedHost host(DefaultConfig(), {.world = World::kBursts, .workloads = 20, .seed = 1});
  for (int t = 0; t < 26 * 3600; ++t) host.Tick();
  const size_t before = host.told().size();
  host.Reboot();
  for (int t = 0; t < 3 * 3600; ++t) host.Tick();
  for (size_t i = before; i < host.told().size(); ++i) EXPECT_EQ(host.told()[i].as.find("process.memory"), std::string::npos) << host.told()[i].workload;
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
