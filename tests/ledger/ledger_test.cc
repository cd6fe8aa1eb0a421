#include "userspace/ledger/ledger.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "tests/feed/faulty_vfs.h"

namespace outlier {
namespace {

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    FaultyVfs::Install();
    std::string name = std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + "/outlier-ledger-XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = folder_ + "/relay.db";
  }
  ~LedgerTest() override {
    FaultyVfs::countdown = 0;
    FaultyVfs::lasting = false;
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::unique_ptr<Ledger> Open() {
    messages_.clear();
    auto ledger = Ledger::Open(path_, &messages_);
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return ledger.ok() ? *std::move(ledger) : nullptr;
  }
  static Entry Full(int n) {
    Entry entry;
    entry.sink = "s";
    entry.cursors = {{"unix:///a", "f", static_cast<uint64_t>(n)}};
    relay::v1::Held held;
    held.set_incident_key(fmt::format("f:{}", n));
    held.set_sequence(static_cast<uint64_t>(n));
    entry.held.push_back(held);
    if (n > 1) entry.no_longer_held.push_back(fmt::format("f:{}", n - 1));
    relay::v1::Followed followed;
    followed.set_incident_key(fmt::format("f:{}", n));
    entry.followed.push_back(followed);
    if (n > 1) entry.unfollowed.push_back(fmt::format("f:{}", n - 1));
    relay::v1::DeadLetter letter;
    letter.mutable_change()->set_sequence(static_cast<uint64_t>(n));
    entry.refused.push_back(letter);
    entry.counted.delivered = 1;
    return entry;
  }
  // That everything of the first n entries is there, and nothing of any other.
  static void ExpectExactly(const Ledger& ledger, int n) {
    const auto cursors = *ledger.Cursors("s");
    ASSERT_EQ(cursors.size(), n > 0 ? 1u : 0u);
    if (n > 0) { EXPECT_EQ(cursors[0].sequence, static_cast<uint64_t>(n)); }
    const auto held = *ledger.Held("s");
    ASSERT_EQ(held.size(), n > 0 ? 1u : 0u);
    if (n > 0) { EXPECT_EQ(held[0].sequence(), static_cast<uint64_t>(n)); }
    EXPECT_EQ(ledger.Followed("s")->size(), n > 0 ? 1u : 0u);
    EXPECT_EQ(*ledger.DeadLetterCount("s"), static_cast<uint64_t>(n));
    EXPECT_EQ(ledger.Counted("s")->delivered, static_cast<uint64_t>(n));
  }
  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  std::string folder_, path_;
  std::vector<std::string> messages_;
};

TEST_F(LedgerTest, KeepsAllOfAnEntryOverAReopening) {
  auto ledger = Open();
  for (int n = 1; n <= 5; ++n) ASSERT_TRUE(ledger->Write(Full(n)).ok());
  ExpectExactly(*ledger, 5);
  ledger.reset();
  ledger = Open();
  ExpectExactly(*ledger, 5);
  EXPECT_TRUE(messages_.empty());
  EXPECT_EQ(ledger->DeadLetters("s", 2)->size(), 2u);
  EXPECT_EQ(ledger->DeadLetters("s", 2)->front().sink(), "s");
  EXPECT_EQ(ledger->DeadLetters("", 100)->size(), 5u);
  EXPECT_TRUE(ledger->DeadLetters("other", 100)->empty());
}

// Power is cut in the middle: what is on the disk then is looked at, an entry is there wholly or not at all, and what was acknowledged is there.
TEST_F(LedgerTest, AKillAtAnyMomentLeavesWholeEntriesAndAllThatWereAcknowledged) {
  std::mt19937 random(7);
  int done = 0;
  for (int round = 0; round < 15; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(pipe_ends[0]);
      std::vector<std::string> messages;
      auto ledger = Ledger::Open(path_, &messages);
      if (!ledger.ok()) _exit(1);
      for (int n = done + 1;; ++n) {
        if (!(*ledger)->Write(Full(n)).ok()) _exit(2);
        if (write(pipe_ends[1], &n, sizeof n) != sizeof n) _exit(3);
      }
    }
    close(pipe_ends[1]);
    const int wanted = static_cast<int>(random() % 30) + 1;
    int acknowledged = done, value = 0;
    for (int i = 0; i < wanted && read(pipe_ends[0], &value, sizeof value) == sizeof value; ++i) acknowledged = value;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(pipe_ends[0], &value, sizeof value) == sizeof value) acknowledged = value;
    close(pipe_ends[0]);
    auto ledger = Open();
    ASSERT_NE(ledger, nullptr);
    EXPECT_TRUE(messages_.empty());
    const int there = static_cast<int>(ledger->Counted("s")->delivered);
    EXPECT_GE(there, acknowledged);
    EXPECT_LE(there, acknowledged + 1);
    ExpectExactly(*ledger, there);
    done = there;
  }
  EXPECT_GT(done, 15);
}

TEST_F(LedgerTest, AFullDiskWritesNothingSaysSoAndGoesOnWhenThereIsRoom) {
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    for (int n = 1; n < 100; ++n) {
      SCOPED_TRACE(fmt::format("code {} at call {}", code, n));
      std::filesystem::remove(path_);
      std::filesystem::remove(path_ + "-wal");
      std::filesystem::remove(path_ + "-shm");
      auto ledger = Open();
      ASSERT_TRUE(ledger->Write(Full(1)).ok());
      FaultyVfs::code = code;
      FaultyVfs::fired = false;
      FaultyVfs::lasting = true;
      FaultyVfs::countdown = n;
      const absl::Status status = ledger->Write(Full(2));
      const bool fired = FaultyVfs::fired;
      FaultyVfs::lasting = false;
      FaultyVfs::countdown = 0;
      if (!status.ok()) {
        ExpectExactly(*ledger, 1);
        if (code == SQLITE_FULL && n == 1) { EXPECT_TRUE(absl::IsResourceExhausted(status)) << status; }
        EXPECT_NE(status.message().find("relay.db"), absl::string_view::npos) << status;
        ASSERT_TRUE(ledger->Write(Full(2)).ok());
      }
      ExpectExactly(*ledger, 2);
      ledger.reset();
      ledger = Open();
      ExpectExactly(*ledger, 2);
      if (!fired) {
        EXPECT_GT(n, 1);
        break;
      }
    }
  }
}

TEST_F(LedgerTest, ADamagedFileIsSetAsideAndToldAndANewOneBegun) {
  for (const auto& damage : std::vector<std::function<void()>>{
           [&] { std::ofstream(path_, std::ios::trunc) << "this is no database at all, but it is longer than a header of one would be, so that it is read"; },
           [&] {
             std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
             file.seekp(4096);
             file << std::string(8000, '\xee');
           },
           [&] { std::filesystem::resize_file(path_, 5000); },
           [&] { Sql("PRAGMA application_id = 7"); },
       }) {
    {
      auto ledger = Open();
      ASSERT_NE(ledger, nullptr);
      for (int n = 1; n <= 50; ++n) ASSERT_TRUE(ledger->Write(Full(n)).ok());
    }
    damage();
    auto ledger = Open();
    ASSERT_NE(ledger, nullptr);
    ASSERT_EQ(messages_.size(), 1u);
    EXPECT_NE(messages_[0].find("damaged-"), std::string::npos) << messages_[0];
    ExpectExactly(*ledger, 0);
    ASSERT_TRUE(ledger->Write(Full(1)).ok());
    ledger.reset();
    std::filesystem::remove(path_);
  }
}

TEST_F(LedgerTest, ALedgerOfALaterVersionIsLeftAlone) {
  Open().reset();
  Sql("PRAGMA user_version = 99");
  std::vector<std::string> messages;
  const auto ledger = Ledger::Open(path_, &messages);
  EXPECT_TRUE(absl::IsFailedPrecondition(ledger.status())) << ledger.status();
  EXPECT_NE(ledger.status().message().find("99"), absl::string_view::npos);
  Sql("PRAGMA user_version = 1");
  EXPECT_NE(Open(), nullptr);
}

TEST_F(LedgerTest, ARowThatCannotBeReadIsDroppedAndTold) {
  {
    auto ledger = Open();
    for (int n = 1; n <= 3; ++n) ASSERT_TRUE(ledger->Write(Full(n)).ok());
  }
  Sql("UPDATE held SET value = x'ffffffff'; UPDATE dead_letters SET value = x'ffffffff' WHERE id = 2; INSERT INTO silences VALUES ('x', x'ffffffff')");
  auto ledger = Open();
  ASSERT_NE(ledger, nullptr);
  EXPECT_EQ(messages_.size(), 3u);
  EXPECT_TRUE(ledger->Held("s")->empty());
  EXPECT_EQ(ledger->DeadLetters("s", 10)->size(), 2u);
  EXPECT_TRUE(ledger->Silences()->empty());
}

TEST_F(LedgerTest, IsForOneProcess) {
  auto ledger = Open();
  const pid_t child = fork();
  if (child == 0) {
    std::vector<std::string> messages;
    const auto second = Ledger::Open(path_, &messages);
    const bool right = absl::IsUnavailable(second.status()) && second.status().message().find("in use") != absl::string_view::npos;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ledger.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(LedgerTest, TheNewestFeedOfASourceStandsLastAndOldOnesGiveWay) {
  auto ledger = Open();
  for (int feed = 0; feed < 30; ++feed) {
    Entry entry;
    entry.sink = "s";
    entry.cursors = {{"unix:///a", fmt::format("feed{}", feed), 7}, {"unix:///b", "same", static_cast<uint64_t>(feed)}};
    ASSERT_TRUE(ledger->Write(entry).ok());
  }
  Entry back;
  back.sink = "s";
  back.cursors = {{"unix:///a", "feed27", 9}};
  ASSERT_TRUE(ledger->Write(back).ok());
  const auto cursors = *ledger->Cursors("s");
  EXPECT_LE(cursors.size(), static_cast<size_t>(Ledger::kMostFeeds) + 1) << "a source whose journal is new at every look fills the file";
  std::string newest;
  for (const Cursor& cursor : cursors) {
    if (cursor.source == "unix:///a") newest = fmt::format("{}:{}", cursor.feed_id, cursor.sequence);
    if (cursor.source == "unix:///b") { EXPECT_EQ(cursor.sequence, 29u); }
  }
  EXPECT_EQ(newest, "feed27:9");
}

TEST_F(LedgerTest, KeepsTheNewestDeadLettersAndCountsTheOthers) {
  auto ledger = Open();
  Entry entry;
  entry.sink = "s";
  for (size_t i = 0; i < Ledger::kMostDeadLetters + 50; ++i) {
    relay::v1::DeadLetter letter;
    letter.mutable_change()->set_sequence(i);
    entry.refused.push_back(letter);
  }
  ASSERT_TRUE(ledger->Write(entry).ok());
  EXPECT_EQ(*ledger->DeadLetterCount("s"), Ledger::kMostDeadLetters);
  EXPECT_EQ(ledger->Counted("s")->letters_dropped, 50u);
  EXPECT_EQ(ledger->DeadLetters("s", 1)->front().change().sequence(), 50u);
  const std::string id = ledger->DeadLetters("s", 1)->front().id();
  EXPECT_TRUE(*ledger->HasDeadLetter("s", id));
  EXPECT_FALSE(*ledger->HasDeadLetter("other", id));
  Entry bury;
  bury.sink = "s";
  bury.buried = {id};
  ASSERT_TRUE(ledger->Write(bury).ok());
  EXPECT_FALSE(*ledger->HasDeadLetter("s", id));
}

TEST_F(LedgerTest, TheSpoolGivesWhatComesAfterAndForgetsWhatIsDone) {
  auto ledger = Open();
  std::vector<v1::IncidentChange> changes(10);
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i].set_sequence(i + 1);
    changes[i].mutable_incident()->set_summary("x");
  }
  ASSERT_TRUE(ledger->Spool(changes, "f").ok());
  ASSERT_TRUE(ledger->Spool(changes, "f").ok());
  EXPECT_EQ(ledger->Spooled("f", 3, 4)->size(), 4u);
  EXPECT_EQ(ledger->Spooled("f", 3, 4)->front().sequence(), 4u);
  EXPECT_TRUE(ledger->Spooled("g", 0, 4)->empty());
  EXPECT_EQ(*ledger->SpooledFeeds(), std::vector<std::string>{"f"});
  EXPECT_GT(*ledger->SpooledBytes(), 0u);
  ASSERT_TRUE(ledger->ForgetSpooled("f", 10).ok());
  EXPECT_EQ(*ledger->SpooledBytes(), 0u);
}

TEST_F(LedgerTest, HostileTextIsData) {
  auto ledger = Open();
  const std::string hostile = std::string("'; DROP TABLE held; --\n\0\xff", 25) + std::string(1 << 20, 'x');
  Entry entry;
  entry.sink = "s";
  entry.cursors = {{hostile, hostile, UINT64_MAX}};
  relay::v1::Held held;
  held.set_incident_key("k");
  held.mutable_change()->mutable_incident()->set_summary(std::string(1 << 20, 'x'));
  entry.held.push_back(held);
  ASSERT_TRUE(ledger->Write(entry).ok());
  ledger.reset();
  ledger = Open();
  EXPECT_EQ(ledger->Cursors("s")->front().feed_id, hostile);
  EXPECT_EQ(ledger->Cursors("s")->front().sequence, UINT64_MAX);
  EXPECT_EQ(ledger->Held("s")->size(), 1u);
}

}  // namespace
}  // namespace outlier
