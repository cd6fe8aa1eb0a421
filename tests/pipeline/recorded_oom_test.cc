// What the engine makes of OOM kills in memory cgroups of version 2, as a 6.1 kernel told them: data/cgroup_v2_oom.rec is the
// recording of one session of tests/guest/run, which makes it anew with --record.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>

#include "userspace/pipeline/engine.h"
#include "userspace/recorder/recorder.h"

namespace outlier {
namespace {

constexpr double kFoundWithinSeconds = 10;
constexpr double kOnsetErrorSeconds = 3;

class RecordedOom : public ::testing::Test {
 protected:
  void SetUp() override { Replay(""); }

  // As if a rule for every workload ignored this signal.
  void Replay(const std::string& ignored) {
    changes_.clear();
    killed_.clear();
    const auto recording = RecordingReader::OpenFile(OUTLIER_TEST_DATA "/cgroup_v2_oom.rec");
    ASSERT_TRUE(recording.ok()) << recording.status();
    // From its first tick on: the snapshot before it knows nothing, and its format may change.
    ASSERT_EQ((*recording)->snapshot_tick(), 0u);
    Engine::Options options;
    ASSERT_TRUE(options.config.ParseFromString((*recording)->config()));
    if (!ignored.empty()) options.config.add_workloads()->add_ignore(ignored);
    options.source.set_feed_id((*recording)->feed_id());
    const auto engine = Engine::Make(options);
    for (;;) {
      auto input = (*recording)->Next();
      ASSERT_TRUE(input.ok()) << input.status();
      if (!input->has_value()) break;
      if (!ignored.empty()) std::erase_if((**input).commands, [](const Command& c) { return c.kind == Command::Kind::kReload; });  // of the session
      Note(**input);
      for (const TickOutput& output : engine->Step({&**input, 1})) changes_.insert(changes_.end(), output.changes.begin(), output.changes.end());
    }
    ASSERT_FALSE((*recording)->torn_tail());
  }

  // The kernel's word: who was killed when, in seconds of Unix time, and in which cgroups processes were.
  void Note(const TickInput& input) {
    for (const LifecycleEvent& event : input.events) {
      if (event.kind != LifecycleEvent::Kind::kOomVictim) continue;
      EXPECT_EQ(event.constraint, OomConstraint::kMemoryCgroup);
      EXPECT_EQ(event.oom_limit_bytes, 64u << 20);
      killed_.emplace(event.comm, static_cast<double>(input.wall_time_ns) * 1e-9 - static_cast<double>(input.boot_time_ns - event.time_ns) * 1e-9);
    }
    for (const IdentityObservation& seen : input.identities) cgroups_[seen.comm] = seen.cgroup_path;
  }

  // The one incident of this workload, opened in time after the process `comm` was killed, with the right onset, resolved in the end.
  std::optional<v1::Incident> TheIncident(const std::string& workload, const std::string& comm) {
    const auto killed = killed_.find(comm);
    if (killed == killed_.end()) {
      ADD_FAILURE() << "the recording knows of no kill of " << comm;
      return std::nullopt;
    }
    std::optional<v1::Incident> last;
    int opened = 0;
    for (const v1::IncidentChange& change : changes_) {
      if (change.incident().workload().name() != workload) continue;
      last = change.incident();
      if (change.kind() != v1::IncidentChange::OPENED) continue;
      ++opened;
      EXPECT_GE(Seconds(change.time()), killed->second);
      EXPECT_LE(Seconds(change.time()), killed->second + kFoundWithinSeconds);
      EXPECT_NEAR(Seconds(change.incident().onset_time()), killed->second, kOnsetErrorSeconds);
    }
    EXPECT_EQ(opened, 1) << workload;
    EXPECT_TRUE(last && last->state() == v1::Incident::RESOLVED) << workload;
    return last;
  }
  static double Seconds(const google::protobuf::Timestamp& time) { return static_cast<double>(time.seconds()) + time.nanos() * 1e-9; }

  // The name that a container's cgroup gives it: the beginnings of pod and container id.
  std::string ContainerName(const std::string& comm) const {
    const std::string& path = cgroups_.at(comm);
    return path.substr(path.rfind("-pod") + 4, 8) + "/" + path.substr(path.rfind("cri-containerd-") + 15, 12);
  }

  std::vector<v1::IncidentChange> changes_;
  std::map<std::string, double> killed_;  // by name: the first kill
  std::map<std::string, std::string> cgroups_;
};

TEST_F(RecordedOom, AUnitThatItsManagerStartedAgainRanOutOfMemory) {
  EXPECT_EQ(cgroups_["oomer"], "/system.slice/oomer.service");
  const auto incident = TheIncident("oomer.service", "oomer");
  ASSERT_TRUE(incident);
  EXPECT_EQ(incident->restart().cause(), v1::Restart::OUT_OF_MEMORY);
  EXPECT_EQ(incident->restart().signal(), 9);
  EXPECT_EQ(incident->workload().kind(), v1::Workload::SYSTEMD_UNIT);
  EXPECT_EQ(incident->workload().unit(), "oomer.service");
}

TEST_F(RecordedOom, AContainersChildRanOutOfMemoryAndItsParentLives) {
  const auto incident = TheIncident(ContainerName("shop"), "shop");
  ASSERT_TRUE(incident);
  EXPECT_EQ(incident->restart().cause(), v1::Restart::CHILD_OUT_OF_MEMORY);
  EXPECT_EQ(incident->workload().kind(), v1::Workload::CONTAINER);
}

TEST_F(RecordedOom, AContainerThatEndsWholeWhenAChildRunsOutOfMemoryRanOutOfMemory) {
  const auto incident = TheIncident(ContainerName("pool"), "pool");
  ASSERT_TRUE(incident);
  EXPECT_EQ(incident->restart().cause(), v1::Restart::OUT_OF_MEMORY);
  EXPECT_EQ(incident->workload().kind(), v1::Workload::CONTAINER);
}

TEST_F(RecordedOom, IsIgnoredWithTheSignalThatTellsItAndNotWithRestarts) {
  Replay("workload.restarts");
  EXPECT_TRUE(TheIncident("oomer.service", "oomer"));
  EXPECT_TRUE(TheIncident(ContainerName("shop"), "shop"));
  Replay("workload.exits");
  for (const v1::IncidentChange& change : changes_) {
    EXPECT_NE(change.incident().restart().cause(), v1::Restart::OUT_OF_MEMORY) << change.incident().summary();
    EXPECT_NE(change.incident().restart().cause(), v1::Restart::CHILD_OUT_OF_MEMORY) << change.incident().summary();
  }
}

TEST_F(RecordedOom, NobodyElseIsSaidToHaveRunOutOfMemory) {
  for (const v1::IncidentChange& change : changes_) {
    const v1::Incident& incident = change.incident();
    const auto cause = incident.restart().cause();
    if (cause != v1::Restart::OUT_OF_MEMORY && cause != v1::Restart::CHILD_OUT_OF_MEMORY) continue;
    const std::string& name = incident.workload().name();
    EXPECT_TRUE(name == "oomer.service" || name == ContainerName("shop") || name == ContainerName("pool")) << name;
  }
}

}  // namespace
}  // namespace outlier
