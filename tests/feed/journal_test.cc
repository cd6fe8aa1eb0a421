#include "userspace/feed/journal.h"

#include <sqlite3.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "tests/feed/faulty_vfs.h"
#include "tests/feed/feed_fixture.h"

namespace outlier {
namespace {

class JournalTest : public testing::Test {
 protected:
  void Execute(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  // `n` ticks of one change each.
  void Fill(Journal* journal, int n) {
    for (int i = 0; i < n; ++i) {
      std::vector<v1::IncidentChange> changes = {MakeChange("incident-" + std::to_string(i), v1::IncidentChange::OPENED, 100 + i)};
      ASSERT_TRUE(journal->Append(journal->last_tick() + 1, &changes).ok());
    }
  }
  static std::string Bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "journal.db";
};

TEST_F(JournalTest, TheFeedIdIsMadeOnceAndEveryJournalHasItsOwn) {
  const std::string id = OpenJournal(path_)->feed_id();
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(OpenJournal(path_)->feed_id(), id);
  EXPECT_NE(OpenJournal(folder_ / "other/journal.db")->feed_id(), id);
}

TEST_F(JournalTest, ASecondWriterIsRefusedWithTheHoldersPid) {
  auto first = OpenJournal(path_);
  std::string message;
  const auto second = Journal::Open(path_, &message);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find("process " + std::to_string(getpid())), absl::string_view::npos) << second.status();
  EXPECT_NE(OpenJournal(folder_ / "elsewhere/journal.db"), nullptr);
  first.reset();
  EXPECT_NE(OpenJournal(path_), nullptr);
}

TEST_F(JournalTest, MetaSurvives) {
  auto journal = OpenJournal(path_);
  EXPECT_EQ(journal->GetMeta("key"), std::nullopt);
  const std::string bytes("\0\xff bytes", 8);
  ASSERT_TRUE(journal->PutMeta("key", "first").ok());
  ASSERT_TRUE(journal->PutMeta("key", bytes).ok());
  journal.reset();
  EXPECT_EQ(OpenJournal(path_)->GetMeta("key"), bytes);
}

TEST_F(JournalTest, CompactionKeepsOpenIncidentsAndNumbersAreNeverGivenTwice) {
  auto journal = OpenJournal(path_);
  std::vector<v1::IncidentChange> changes = {MakeChange("open", v1::IncidentChange::OPENED, 1), MakeChange("done", v1::IncidentChange::OPENED, 1),
                                             MakeChange("done", v1::IncidentChange::RESOLVED, 2)};
  ASSERT_TRUE(journal->Append(1, &changes).ok());
  ASSERT_TRUE(journal->Compact(1'000'000'000'000).ok());
  EXPECT_EQ(journal->oldest_sequence(), 4u);
  EXPECT_EQ(journal->Get("done").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(journal->Get("open").ok());
  changes = {MakeChange("open", v1::IncidentChange::RESOLVED, 3)};
  ASSERT_TRUE(journal->Append(2, &changes).ok());
  ASSERT_TRUE(journal->Compact(1'000'000'000'000).ok());
  journal.reset();
  journal = OpenJournal(path_);
  EXPECT_EQ(journal->oldest_sequence(), 5u);
  EXPECT_EQ(journal->last_sequence(), 4u);
  changes = {MakeChange("next", v1::IncidentChange::OPENED, 4)};
  ASSERT_TRUE(journal->Append(2, &changes).ok());  // an old tick: nothing is written
  EXPECT_EQ(changes[0].sequence(), 0u);
  ASSERT_TRUE(journal->Append(3, &changes).ok());
  EXPECT_EQ(changes[0].sequence(), 5u);
}

TEST_F(JournalTest, WhatCouldNotBeReadBackIsNotWritten) {
  auto journal = OpenJournal(path_);
  std::vector<v1::IncidentChange> changes = {MakeChange("good", v1::IncidentChange::OPENED, 1), MakeChange("bad\xff", v1::IncidentChange::OPENED, 1)};
  EXPECT_EQ(journal->Append(1, &changes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(journal->last_sequence(), 0u);
  EXPECT_TRUE(journal->Read(0, 10)->empty());
}

TEST_F(JournalTest, HostileIdsAreOnlyText) {
  auto journal = OpenJournal(path_);
  Fill(journal.get(), 3);
  for (const std::string& id : {std::string("' OR 1=1 --"), std::string("%%%%"), std::string("****"), std::string("inci\0dent", 9), std::string(100000, 'i')}) {
    EXPECT_EQ(journal->Get(id).status().code(), absl::StatusCode::kNotFound);
  }
}

TEST_F(JournalTest, AJournalOfALaterVersionIsLeftUntouched) {
  OpenJournal(path_);
  Execute("PRAGMA user_version = 7");
  const std::string before = Bytes(path_);
  std::string message;
  const auto journal = Journal::Open(path_, &message);
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(journal.status().message().find("version 7"), absl::string_view::npos) << journal.status();
  EXPECT_EQ(Bytes(path_), before);
}

TEST_F(JournalTest, ADatabaseOfAnotherProgramIsSetAside) {
  Execute("CREATE TABLE precious(x); INSERT INTO precious VALUES (1)");
  const std::string before = Bytes(path_);
  std::string message;
  const auto journal = Journal::Open(path_, &message);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_NE(message.find(".damaged-1"), std::string::npos) << message;
  EXPECT_EQ(Bytes(path_ + ".damaged-1"), before);
}

TEST_F(JournalTest, WhateverBytesAreDamagedItIsTheWholeJournalOrAnotherOneWithItsMessage) {
  std::string feed_id;
  std::vector<std::string> whole;
  {
    auto journal = OpenJournal(path_);
    Fill(journal.get(), 40);
    feed_id = journal->feed_id();
    const auto changes = *journal->Read(0, 100);
    for (const auto& change : changes) whole.push_back(change.SerializeAsString());
  }
  const std::string good = Bytes(path_);
  std::mt19937_64 random(9);
  int set_aside = 0;
  for (int round = 0; round < 120; ++round) {
    std::string damaged = good;
    for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] ^= static_cast<char>(1 << (random() % 8));
    if (round % 10 == 0) damaged.resize(random() % damaged.size());
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) std::filesystem::remove(entry);
    std::ofstream(path_, std::ios::binary) << damaged;
    std::string message;
    const auto journal = Journal::Open(path_, &message);
    if (!journal.ok()) {  // a later version, by a flipped bit
      ASSERT_EQ(journal.status().code(), absl::StatusCode::kFailedPrecondition) << journal.status();
      continue;
    }
    const auto changes = (*journal)->Read(0, 100);
    ASSERT_TRUE(changes.ok()) << round << changes.status();
    if (!message.empty()) {
      ++set_aside;
      ASSERT_NE((*journal)->feed_id(), feed_id);
      ASSERT_TRUE(changes->empty());
      ASSERT_TRUE(std::filesystem::exists(path_ + ".damaged-1"));
      continue;
    }
    if (damaged.empty()) continue;  // nothing at all is a journal not yet begun
    std::vector<std::string> got;
    for (const auto& change : *changes) got.push_back(change.SerializeAsString());
    ASSERT_TRUE(got == whole) << "round " << round << ", " << damaged.size() << " bytes, " << got.size() << " changes";
  }
  EXPECT_GT(set_aside, 20);
}

TEST_F(JournalTest, ReadersBesideTheWriterSeeWholeTicksOnly) {
  auto journal = OpenJournal(path_);
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&] {
      while (!done) {
        const auto changes = journal->Read(0, 100000);
        ASSERT_TRUE(changes.ok()) << changes.status();
        ASSERT_EQ(changes->size() % 3, 0u);
      }
    });
  }
  for (int tick = 1; tick <= 60; ++tick) {
    std::vector<v1::IncidentChange> changes(3, MakeChange("id-" + std::to_string(tick), v1::IncidentChange::OPENED, tick));
    ASSERT_TRUE(journal->Append(tick, &changes).ok());
  }
  done = true;
  for (auto& reader : readers) reader.join();
}

// For every n: the n-th write of an Append fails. Nothing may be half there, and once the disk is well again, all goes on.
TEST_F(JournalTest, WhicheverWriteFailsNothingIsHalfWritten) {
  FaultyVfs::Install();
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    FaultyVfs::code = code;
    FaultyVfs::fired = true;
    for (int n = 1; FaultyVfs::fired; ++n) {
      const std::string path = folder_ / ("faulty-" + std::to_string(code) + "-" + std::to_string(n) + "/journal.db");
      auto journal = OpenJournal(path);
      Fill(journal.get(), 2);
      std::vector<v1::IncidentChange> changes(5, MakeChange("big", v1::IncidentChange::OPENED, 1));
      for (auto& c : changes) c.mutable_incident()->set_summary(std::string(5000, 's'));
      FaultyVfs::fired = false;
      FaultyVfs::lasting = n % 2 == 0;
      FaultyVfs::countdown = n;
      const absl::Status status = journal->Append(3, &changes);
      FaultyVfs::countdown = 0;
      ASSERT_EQ(status.ok(), !FaultyVfs::fired) << n << status;
      if (!status.ok()) {
        ASSERT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
        ASSERT_EQ(journal->last_sequence(), 2u);
        ASSERT_EQ(journal->Read(0, 100)->size(), 2u);
        ASSERT_TRUE(journal->Append(3, &changes).ok()) << n;
      }
      ASSERT_EQ(journal->Read(0, 100)->size(), 7u);
      journal.reset();
      ASSERT_EQ(OpenJournal(path)->last_sequence(), 7u);
      ASSERT_LT(n, 200);
    }
  }
}

// A child appends and says so on a pipe; it is killed at a random moment. What it said must be there, once.
TEST_F(JournalTest, KilledAtAnyMomentEveryReportedChangeIsThereOnce) {
  std::mt19937_64 random(4);
  uint64_t reported = 0;
  std::string feed_id;
  for (int kill_round = 0; kill_round < 50; ++kill_round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::string message;
      auto journal = Journal::Open(path_, &message);
      if (!journal.ok() || !message.empty()) _exit(1);
      for (;;) {
        const uint64_t tick = (*journal)->last_tick() + 1;
        std::vector<v1::IncidentChange> changes(1 + tick % 3, MakeChange("id-" + std::to_string(tick), v1::IncidentChange::OPENED, 1));
        // Every tick twice, as when replayed after a crash.
        for (int n = 0; n < 2; ++n) {
          if (!(*journal)->Append(tick, &changes).ok()) _exit(2);
        }
        const uint64_t last = changes.back().sequence();
        if (write(pipe_ends[1], &last, sizeof last) != sizeof last) _exit(3);
      }
    }
    close(pipe_ends[1]);
    // Until it has reported something, then a random number of microseconds more.
    uint64_t sequence = 0;
    ASSERT_EQ(read(pipe_ends[0], &sequence, sizeof sequence), static_cast<ssize_t>(sizeof sequence)) << "the child could not write";
    usleep(random() % 20'000);
    kill(child, SIGKILL);
    do {
      reported = std::max(reported, sequence);
    } while (read(pipe_ends[0], &sequence, sizeof sequence) == sizeof sequence);
    close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);

    auto journal = OpenJournal(path_);
    ASSERT_NE(journal, nullptr);
    if (feed_id.empty()) feed_id = journal->feed_id();
    ASSERT_EQ(journal->feed_id(), feed_id);
    ASSERT_GE(journal->last_sequence(), reported);
    const auto changes = journal->Read(0, 1 << 30);
    ASSERT_TRUE(changes.ok()) << changes.status();
    ASSERT_EQ(changes->size(), journal->last_sequence());
    uint64_t tick = 0;
    for (size_t i = 0; i < changes->size();) {
      ++tick;
      for (uint64_t n = 0; n < 1 + tick % 3; ++n, ++i) {  // whole ticks, each once
        ASSERT_LT(i, changes->size());
        ASSERT_EQ((*changes)[i].sequence(), i + 1);
        ASSERT_EQ((*changes)[i].incident().id(), "id-" + std::to_string(tick));
      }
    }
    ASSERT_EQ(tick, journal->last_tick());
  }
}

}  // namespace
}  // namespace outlier
