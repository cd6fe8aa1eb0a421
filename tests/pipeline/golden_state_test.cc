// What an older build saved still loads: one file a version in data/, each of the same short session. A change of the layout gets a new
// version and a new file, made by running this test with OUTLIER_WRITE_STATE=FILE; the old files stay.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/pipeline/engine_session.h"

namespace outlier {
namespace {

constexpr uint64_t kTicks = 150;
constexpr size_t kMostBytesAWorkload = 96 << 10;

// A service burns a core from the hundredth second on, and does so when the state is saved.
std::string StateOfTheSession(int services) {
  const auto engine = MakeEngine();
  SimulatedHost host(services);
  for (uint64_t t = 0; t < kTicks; ++t) {
    if (t == 100) host.at(0).cores = 1.0;
    engine->Step(std::vector{host.Tick()});
  }
  return engine->Save();
}

std::string Bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(GoldenState, OfEveryVersionLoadsAndGoesOn) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(OUTLIER_GOLDEN_STATES)) {
    if (!entry.path().filename().string().starts_with("state-v")) continue;
    ++files;
    const auto engine = MakeEngine();
    const absl::Status loaded = engine->Load(Bytes(entry.path()));
    ASSERT_TRUE(loaded.ok()) << entry.path() << ": " << loaded;
    EXPECT_EQ(engine->last_tick(), kTicks);
    EXPECT_EQ(engine->OpenIncidents().size(), 1u) << entry.path();
    EXPECT_EQ(engine->Workloads(false).size(), 6u) << "three of the host's own and three services";
    SimulatedHost host(3);
    for (uint64_t t = 0; t < kTicks; ++t) host.Tick();
    EXPECT_NO_FATAL_FAILURE(engine->Step(std::vector{host.Tick()}));
    EXPECT_EQ(engine->last_tick(), kTicks + 1);
  }
  EXPECT_GE(files, 1);
}

TEST(GoldenState, IsWhatThisBuildSavesAndRestoresBitForBit) {
  const std::string state = StateOfTheSession(3);
  if (const char* path = std::getenv("OUTLIER_WRITE_STATE")) std::ofstream(path, std::ios::binary) << state;
  const auto engine = MakeEngine();
  ASSERT_TRUE(engine->Load(state).ok());
  EXPECT_EQ(engine->Save(), state);
}

TEST(GoldenState, GrowsByABoundedAmountWithEachWorkload) {
  const size_t few = StateOfTheSession(3).size(), many = StateOfTheSession(23).size();
  EXPECT_LE((many - few) / 20, kMostBytesAWorkload);
}

}  // namespace
}  // namespace outlier
