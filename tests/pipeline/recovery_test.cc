// The whole pipeline over a simulated host: killed, its journal full, or robbed of its write-ahead log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/feed/faulty_vfs.h"
#include "tests/pipeline/simulated_host.h"
#include "userspace/pipeline/pipeline.h"

namespace outlier {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Probes that show a simulated host.
class PlayedProbes : public ProbeSet {
 public:
  explicit PlayedProbes(SimulatedHost* host) : host_(*host) {}
  absl::Status Collect(TickInput* input) override {
    TickInput seen = host_.Tick();
    input->boot_time_ns = seen.boot_time_ns;
    input->host = seen.host;
    input->processes = std::move(seen.processes);
    input->accounts = std::move(seen.accounts);
    input->syscalls = std::move(seen.syscalls);
    input->events = std::move(seen.events);
    input->identities = std::move(seen.identities);
    return absl::OkStatus();
  }
  void Assign(std::span<const AccountAssignment>) override {}
  std::vector<v1::ProbeState> states() const override { return {}; }
  std::string mode() const override { return "simulated"; }
  uint64_t map_memory_bytes() const override { return 0; }
  double kernel_cpu_percent() const override { return 0; }

 private:
  SimulatedHost& host_;
};

class RecoveryTest : public ::testing::Test {
 protected:
  RecoveryTest() : host_(3) {
    FaultyVfs::Install();
    FaultyVfs::countdown = 0;
    char name[] = "/tmp/recovery_test.XXXXXX";
    state_ = mkdtemp(name);
  }
  ~RecoveryTest() override {
    FaultyVfs::countdown = 0;
    pipeline_.reset();
    std::filesystem::remove_all(state_);
  }

  void Open(uint64_t snapshot_seconds = 3600, uint64_t tick_seconds = 1) {
    said_.clear();
    Pipeline::Options options;
    options.config.set_tick(tick_seconds * kSecondNs);
    options.config.mutable_detection()->set_warm_up(45 * kSecondNs);
    options.config.mutable_detection()->set_half_life(86400 * kSecondNs);
    options.config.mutable_state()->set_snapshot_interval(snapshot_seconds * kSecondNs);
    options.config.mutable_feed()->set_retain(86400ll * kSecondNs);
    options.state_dir = state_;
    options.source.set_boot_id("boot");
    options.say = [this](const std::string& line) { said_.push_back(line); };
    auto opened = Pipeline::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    pipeline_ = *std::move(opened);
    pipeline_->SetProbes(std::make_unique<PlayedProbes>(&host_), {}, 1);
  }
  void Tick(int n = 1) {
    for (; n > 0; --n) pipeline_->Tick(host_.now_ns(), 1'800'000'000'000'000'000 + static_cast<int64_t>(host_.now_ns()));
  }
  // A service that fails and comes back at once, until it is told as a loop.
  void CrashLoop(int service) {
    for (int i = 0; i < 5; ++i) {
      host_.End(host_.at(service), 3 << 8);
      Tick();
      host_.Start(host_.at(service));
      Tick();
    }
  }
  // As kill -9 leaves it: nothing is closed, checkpointed or saved. A copy of the folder stands for the dead process's.
  void Kill() {
    const std::string copy = state_ + ".copy";
    std::filesystem::copy(state_, copy, std::filesystem::copy_options::recursive);
    pipeline_.reset();
    std::filesystem::remove_all(state_);
    std::filesystem::rename(copy, state_);
  }
  std::map<uint64_t, std::string> Journalled() {
    std::map<uint64_t, std::string> changes;
    const auto read = pipeline_->journal()->Read(0, 100000);
    EXPECT_TRUE(read.ok()) << read.status();
    for (const v1::IncidentChange& change : *read) changes[change.sequence()] = change.SerializeAsString();
    return changes;
  }

  SimulatedHost host_;
  std::string state_;
  std::vector<std::string> said_;
  std::unique_ptr<Pipeline> pipeline_;
};

TEST_F(RecoveryTest, ChangesThatAFullDiskKeepsOutOfTheJournalWaitInMemoryAlsoWhenTheyWereRecovered) {
  Open();
  Tick(50);
  FaultyVfs::lasting = true;
  FaultyVfs::countdown = 1;  // full before the first incident, and still when it is started again
  CrashLoop(0);
  EXPECT_TRUE(Journalled().empty());
  Kill();
  Open();
  EXPECT_THAT(said_, Contains(HasSubstr("kept in memory and tried again each tick")));
  EXPECT_THAT(said_, Contains(HasSubstr("recovered")));
  Tick();
  EXPECT_TRUE(Journalled().empty());
  EXPECT_EQ(pipeline_->GetStatus().open_incidents(), 1u) << "detection goes on";
  FaultyVfs::countdown = 0;
  Tick();
  const auto written = Journalled();
  ASSERT_FALSE(written.empty());
  EXPECT_EQ(written.begin()->first, 1u);
  v1::IncidentChange first;
  ASSERT_TRUE(first.ParseFromString(written.begin()->second));
  EXPECT_EQ(first.kind(), v1::IncidentChange::OPENED);
  EXPECT_EQ(first.incident().restart().cause(), v1::Restart::CRASH);  // the loop follows
}

TEST_F(RecoveryTest, NoSnapshotIsTakenOfWhatTheJournalDoesNotHold) {
  Open(/*snapshot_seconds=*/5);
  Tick(50);
  FaultyVfs::lasting = true;
  FaultyVfs::countdown = 1;
  CrashLoop(0);
  Tick(20);
  Kill();
  FaultyVfs::countdown = 0;
  Open();
  EXPECT_FALSE(Journalled().empty()) << "the snapshot before the incident and the log behind it bring it back";
}

TEST_F(RecoveryTest, ChangesThatWentWithTheWriteAheadLogAreFoundAgainInTheRecordings) {
  Open(/*snapshot_seconds=*/10);
  Tick(50);
  CrashLoop(0);
  Tick(25);  // snapshots in between: recovery alone would begin after the incident
  CrashLoop(1);
  Tick(15);
  const auto before = Journalled();
  ASSERT_GE(before.size(), 2u);
  Kill();
  ASSERT_TRUE(std::filesystem::remove(state_ + "/journal.sqlite-wal"));
  std::filesystem::remove(state_ + "/journal.sqlite-shm");
  Open();
  EXPECT_THAT(said_, Contains(::testing::AllOf(HasSubstr("ends with change 0"), HasSubstr("found again from the recordings"))));
  EXPECT_EQ(Journalled(), before) << "the same changes under the same numbers";
}

TEST_F(RecoveryTest, NumbersOfChangesThatNothingBringsBackAreNotGivenOutAgain) {
  Open(/*snapshot_seconds=*/10);
  Tick(50);
  CrashLoop(0);
  Tick(25);
  const uint64_t last = Journalled().rbegin()->first;
  Kill();
  std::filesystem::remove(state_ + "/journal.sqlite-wal");
  std::filesystem::remove(state_ + "/journal.sqlite-shm");
  std::filesystem::remove_all(state_ + "/recordings");
  Open();
  EXPECT_THAT(said_, Contains(HasSubstr("their numbers stay unused")));
  EXPECT_TRUE(Journalled().empty());
  EXPECT_EQ(pipeline_->journal()->oldest_sequence(), last + 1);
  Tick(20);
  CrashLoop(1);
  ASSERT_FALSE(Journalled().empty());
  EXPECT_EQ(Journalled().begin()->first, last + 1);
  Kill();
  Open();
  EXPECT_EQ(pipeline_->journal()->oldest_sequence(), last + 1) << "a journal with a gap at its beginning is whole";
}

TEST_F(RecoveryTest, WhereEverythingLearnedIsGoneNewChangesStillFollowThoseOfTheJournal) {
  Open(/*snapshot_seconds=*/10);
  Tick(50);
  CrashLoop(0);
  Tick(25);
  const auto before = Journalled();
  Kill();
  std::filesystem::remove_all(state_ + "/recordings");
  std::filesystem::remove(state_ + "/models.snapshot");
  Open();
  Tick(50);
  CrashLoop(1);
  const auto after = Journalled();
  EXPECT_GT(after.size(), before.size()) << "ticks that began at 1 again would be taken for journalled ones";
  Kill();
  Open();
  EXPECT_EQ(Journalled(), after);
}

TEST_F(RecoveryTest, AJournalThatIsAsFarAsItsMarkIsLeftAlone) {
  Open(/*snapshot_seconds=*/10);
  Tick(50);
  CrashLoop(0);
  Tick(25);
  const auto before = Journalled();
  Kill();
  Open();
  EXPECT_THAT(said_, ::testing::Not(Contains(HasSubstr("ends with change"))));
  EXPECT_EQ(Journalled(), before);
}

TEST_F(RecoveryTest, ADamagedMarkGivesNoNumbersUp) {
  Open(/*snapshot_seconds=*/10);
  Tick(50);
  CrashLoop(0);
  Tick(25);
  const uint64_t last = Journalled().rbegin()->first;
  Kill();
  std::fstream mark(state_ + "/journal.mark", std::ios::in | std::ios::out);
  std::string feed, sequence;
  mark >> feed >> sequence;
  mark.seekp(static_cast<std::streamoff>(feed.size()) + 1);
  mark << '9';  // in the place of its first digit
  mark.close();
  ASSERT_NE(sequence[0], '9');
  Open();
  EXPECT_EQ(pipeline_->journal()->last_sequence(), last);
  EXPECT_THAT(said_, ::testing::Not(Contains(HasSubstr("stay unused"))));
}

TEST_F(RecoveryTest, ASnapshotThatCannotBeReadIsNotSetAside) {
  Open();
  Tick(50);
  Kill();
  std::filesystem::remove(state_ + "/models.snapshot");
  std::filesystem::create_directory(state_ + "/models.snapshot");
  Open();
  EXPECT_THAT(said_, Contains(::testing::AllOf(HasSubstr("models.snapshot"), HasSubstr("left where it is"))));
  EXPECT_TRUE(std::filesystem::is_directory(state_ + "/models.snapshot"));
  EXPECT_FALSE(std::filesystem::exists(state_ + "/models.snapshot.damaged-1"));
}

TEST_F(RecoveryTest, AStartWithAnotherTickSaysThatTheNormalIsLearnedAgain) {
  Open();
  Tick(50);
  Kill();
  Open(3600, 2);
  EXPECT_THAT(said_, Contains(HasSubstr("tick changed from 1 s to 2 s")));
  Tick();
  Kill();
  Open(3600, 2);
  EXPECT_THAT(said_, ::testing::Not(Contains(HasSubstr("tick changed"))));
}

}  // namespace
}  // namespace outlier
