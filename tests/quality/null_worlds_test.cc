// What a healthy host does again and again is told a few times at most; after the first hour, no more.
#include <gtest/gtest.h>

#include "tests/quality/simulated_host.h"
#include "userspace/config/config.h"
#include "userspace/detectors/detectors.h"
#include "userspace/features/features.h"
#include "userspace/incidents/incidents.h"

namespace outlier::quality {
namespace {

class NullWorld : public ::testing::TestWithParam<World> {};

TEST_P(NullWorld, IsQuietAfterTheFirstHour) {
  constexpr int kWorkloads = 5, kHour = 3600;
  const config::v1::Config config = DefaultConfig();
  SimulatedHost host(GetParam(), kWorkloads, 7);
  const auto detectors = Detectors::Make(config, FeatureSpecs());
  Incidents incidents(config, v1::Source(), FeatureSpecs());
  ScoreTick scores;
  int opened[2] = {0, 0};
  for (int second = 0; second < 2 * kHour; ++second) {
    host.Next();
    detectors->ScoreAndUpdate(host.features(), &scores);
    for (const v1::IncidentChange& change : incidents.Judge(host.workloads(), host.features(), scores)) {
      opened[second / kHour] += change.kind() == v1::IncidentChange::OPENED;
    }
  }
  EXPECT_LE(opened[0], 3 * kWorkloads);
  EXPECT_EQ(opened[1], 0);
}

std::string CaseName(const testing::TestParamInfo<World>& world) {
  std::string name;
  for (const char c : NameOf(world.param)) {
    if (std::isalpha(static_cast<unsigned char>(c))) name += c;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Worlds, NullWorld,
                         testing::Values(World::kHeavyTails, World::kAutocorrelation, World::kDailyCycle, World::kSparseCounts, World::kFlat,
                                         World::kLatencies, World::kPeriodicJobs, World::kSawTooth),
                         CaseName);

}  // namespace
}  // namespace outlier::quality
