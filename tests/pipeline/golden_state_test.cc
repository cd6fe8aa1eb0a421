// What an older build saved still loads: one file a version in data/, each of the same short session. A change of the layout gets a new
// version and a new file, made by running this test with OUTLIER_WRITE_STATE=FILE; the old files stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <xxhash.h>

#include "tests/pipeline/engine_session.h"

namespace outlier {
namespace {

constexpr uint64_t kTicks = 150;
constexpr size_t kMostBytesAWorkload = 96 << 10;

// A service burns a core from the hundredth second on, and does so when the state is saved; a person calls it a false alarm, and some ticks are missed.
std::string StateOfTheSession(int services, uint64_t ticks = kTicks) {
  const auto engine = MakeEngine();
  SimulatedHost host(services);
  for (uint64_t t = 0; t < ticks; ++t) {
    if (t == 100) host.at(0).cores = 1.0;
    if (t == 120) host.Suspend(5);
    if (t == 130 && !engine->OpenIncidents().empty()) {
      Command command;
      command.kind = Command::Kind::kFalseAlarm;
      command.incident_id = engine->OpenIncidents().front();
      host.Send(command);
    }
    engine->Step(std::vector{host.Tick()});
  }
  return engine->Save();
}

constexpr size_t kVersionAt = 8;  // behind the magic, little-endian

uint32_t VersionOf(std::string_view state) {
  uint32_t version = 0;
  std::memcpy(&version, state.data() + kVersionAt, sizeof version);
  return version;
}

// XXH3 of each file, so that none is made anew.
const std::map<std::string, std::string> kGolden = {
    {"state-v4.snap", "727abedb5dfe4e04"},
    {"state-v5.snap", "9b46243e3ed58c57"},
    {"state-v5b.snap", "742c974d2909eeee"},
    {"state-v6.snap", "06eb52a124a21de8"},
    {"state-v7.snap", "d3c37d1015747033"},
    {"state-v8.snap", "8f12965a4ce7322b"},
    {"state-v9.snap", "37fccbf7d622a6f4"},
    {"state-v10.snap", "61b112ec598a59ce"},
    {"state-v11.snap", "63b35c40fa554182"},
};

std::string Bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(GoldenState, OfEveryVersionLoadsAndGoesOn) {
  std::set<uint32_t> versions;
  for (const auto& entry : std::filesystem::directory_iterator(OUTLIER_GOLDEN_STATES)) {
    if (!entry.path().filename().string().starts_with("state-v")) continue;
    const std::string bytes = Bytes(entry.path());
    versions.insert(VersionOf(bytes));
    const auto golden = kGolden.find(entry.path().filename());
    EXPECT_EQ(golden == kGolden.end() ? "" : golden->second, fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()))) << entry.path() << " was released and stays";
    const auto engine = MakeEngine();
    const absl::Status loaded = engine->Load(bytes);
    ASSERT_TRUE(loaded.ok()) << entry.path() << ": " << loaded;
    EXPECT_EQ(engine->last_tick(), kTicks);
    EXPECT_EQ(engine->OpenIncidents().size(), 1u) << entry.path();
    EXPECT_EQ(engine->Workloads(false).size(), 6u) << "three of the host's own and three services";
    SimulatedHost host(3);
    for (uint64_t t = 0; t < kTicks; ++t) host.Tick();
    EXPECT_NO_FATAL_FAILURE(engine->Step(std::vector{host.Tick()}));
    EXPECT_EQ(engine->last_tick(), kTicks + 1);
    EXPECT_EQ(VersionOf(engine->Save()), Engine::kNewestState);
  }
  EXPECT_EQ(*versions.begin(), Engine::kOldestState);
  EXPECT_EQ(*versions.rbegin(), Engine::kNewestState);
  EXPECT_EQ(versions.size(), Engine::kNewestState - Engine::kOldestState + 1) << "one of each";
}

TEST(GoldenState, OfAnotherVersionOrOfSomethingElseIsRefusedWithTheReason) {
  const auto engine = MakeEngine();
  std::string newer = StateOfTheSession(3), older = newer;
  newer[kVersionAt] = static_cast<char>(Engine::kNewestState + 1);
  older[kVersionAt] = static_cast<char>(Engine::kOldestState - 1);
  for (const std::string& other : {newer, older}) {
    const absl::Status status = engine->Load(other);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(fmt::format("it has layout {}, this build reads {} to {}", VersionOf(other), Engine::kOldestState, Engine::kNewestState)));
  }
  const absl::Status foreign = engine->Load("#!/bin/sh\necho this is no snapshot of outlierd at all\n");
  EXPECT_EQ(foreign.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(foreign.message()), testing::HasSubstr("does not begin as a snapshot"));
  EXPECT_EQ(engine->last_tick(), 0u);
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

TEST(GoldenState, OfADayIsAsBoundedAsOfItsFirstMinutes) {
  constexpr size_t kSlots = 6;  // three of the host's own
  EXPECT_LE(StateOfTheSession(3, 86'400).size() / kSlots, kMostBytesAWorkload);
}

}  // namespace
}  // namespace outlier
