#include "tests/sources/source_fixture.h"

namespace outlier {
namespace {

using Kind = FeedEvent::Kind;
using std::chrono::steady_clock;

class FeedReaderTest : public SourceTest {};

TEST_F(FeedReaderTest, ReadsAllThatIsKeptThenWhatComesAndListsWhatIsOpenOnce) {
  for (int i = 0; i < 300; ++i) Open("a" + std::to_string(i));
  Resolve("a0");
  Read(ReaderOptions());
  EXPECT_EQ(Next(Kind::kConnected)->feed_id, journal_->feed_id());
  EXPECT_EQ(ChangesUpTo(301).size(), 301u);
  EXPECT_EQ(Next(Kind::kCaughtUp)->sequence, 301u);
  EXPECT_EQ(Next(Kind::kOpenNow)->open.size(), 299u);
  Open("b");
  EXPECT_EQ(ChangesUpTo(302), std::vector<uint64_t>{302});
  Next(Kind::kCaughtUp);
  EXPECT_EQ(Count(Kind::kOpenNow), 1u);
}

TEST_F(FeedReaderTest, ResumesAfterACursor) {
  for (int i = 0; i < 10; ++i) Open("a" + std::to_string(i));
  FeedReaderOptions options = ReaderOptions();
  options.feed_id = journal_->feed_id();
  options.start_after = 7;
  Read(options);
  EXPECT_EQ(ChangesUpTo(10), (std::vector<uint64_t>{8, 9, 10}));
}

TEST_F(FeedReaderTest, WithoutACursorAStateSinkBeginsNow) {
  for (int i = 0; i < 10; ++i) Open("a" + std::to_string(i));
  FeedReaderOptions options = ReaderOptions();
  options.from_now = true;
  Read(options);
  EXPECT_EQ(Next(Kind::kOpenNow)->open.size(), 10u);
  EXPECT_EQ(Count(Kind::kChange), 0u);
  Resolve("a1");
  EXPECT_EQ(ChangesUpTo(11), std::vector<uint64_t>{11});
}

TEST_F(FeedReaderTest, SurvivesRestartsOfTheServerWithoutALossOrARepeat) {
  FeedReaderOptions options = ReaderOptions();
  Read(options);
  std::vector<uint64_t> all;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 5; ++i) Open(fmt::format("r{}-{}", round, i));
    for (const uint64_t sequence : ChangesUpTo(journal_->last_sequence())) all.push_back(sequence);
    server_.reset();
    EXPECT_NE(Next(Kind::kDisconnected)->message.find("cannot watch"), std::string::npos);
    for (int i = 0; i < 5; ++i) Open(fmt::format("away{}-{}", round, i));
    Serve();
  }
  for (const uint64_t sequence : ChangesUpTo(journal_->last_sequence())) all.push_back(sequence);
  std::vector<uint64_t> expected(journal_->last_sequence());
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = i + 1;
  EXPECT_EQ(all, expected);
  EXPECT_EQ(Count(Kind::kGap), 0u);
}

TEST_F(FeedReaderTest, WhatWasCompactedPastTheCursorIsAGapAndTheRestComes) {
  Open("stays");
  for (int i = 0; i < 20; ++i) Open("a" + std::to_string(i));
  for (int i = 0; i < 20; ++i) Resolve("a" + std::to_string(i));
  Append("stays", v1::IncidentChange::UPDATED, [](v1::IncidentChange* change) { change->mutable_time()->set_seconds(1'900'000'000); });
  Append("late", v1::IncidentChange::OPENED, [](v1::IncidentChange* change) { change->mutable_time()->set_seconds(1'900'000'000); });
  ASSERT_TRUE(journal_->Compact(1'800'000'000LL * 1'000'000'000).ok());
  ASSERT_GT(journal_->oldest_sequence(), 5u);
  FeedReaderOptions options = ReaderOptions();
  options.feed_id = journal_->feed_id();
  options.start_after = 3;
  Read(options);
  const auto gap = Next(Kind::kGap);
  EXPECT_EQ(gap->gap.reason, "compacted");
  EXPECT_EQ(gap->gap.first_sequence, 4u);
  EXPECT_EQ(gap->gap.last_sequence, journal_->oldest_sequence() - 1);
  EXPECT_EQ(gap->host.host_name(), "db-1");
  EXPECT_EQ(ChangesUpTo(journal_->last_sequence()), (std::vector<uint64_t>{42, 43}));
  EXPECT_EQ(Next(Kind::kOpenNow)->open.size(), 2u);
  EXPECT_EQ(Count(Kind::kGap), 1u);
}

TEST_F(FeedReaderTest, AWipedJournalIsToldAsReplaced) {
  for (int i = 0; i < 5; ++i) Open("a" + std::to_string(i));
  Read(ReaderOptions());
  Next(Kind::kOpenNow);
  const std::string old = journal_->feed_id();
  Wipe([&] { Open("new"); });
  const auto gap = Next(Kind::kGap);
  EXPECT_EQ(gap->gap.reason, "feed_replaced");
  EXPECT_EQ(gap->feed_id, old);
  EXPECT_EQ(gap->gap.first_sequence, 6u);
  const auto replaced = Next(Kind::kReplaced);
  EXPECT_EQ(replaced->old_feed_id, old);
  EXPECT_EQ(replaced->feed_id, journal_->feed_id());
  EXPECT_EQ(Next(Kind::kConnected)->feed_id, journal_->feed_id());
  EXPECT_EQ(ChangesUpTo(1), std::vector<uint64_t>{1});
  EXPECT_EQ(Next(Kind::kOpenNow)->open.size(), 1u);
}

TEST_F(FeedReaderTest, AJournalPutBackIsToldAsRewound) {
  for (int i = 0; i < 5; ++i) Open("a" + std::to_string(i));
  FeedReaderOptions options = ReaderOptions();
  options.feed_id = journal_->feed_id();
  options.start_after = 9;
  Read(options);
  const auto gap = Next(Kind::kGap);
  EXPECT_EQ(gap->gap.reason, "journal_rewound");
  EXPECT_EQ(gap->gap.first_sequence, 6u);
  EXPECT_EQ(gap->gap.last_sequence, 9u);
  EXPECT_EQ(Next(Kind::kConnected)->sequence, 5u);
  Open("b");
  EXPECT_EQ(ChangesUpTo(6), std::vector<uint64_t>{6});
}

TEST_F(FeedReaderTest, WhatTheSourceCouldNotJournalIsAGap) {
  Open("a");
  Read(ReaderOptions());
  Next(Kind::kOpenNow);
  lost_ = 7;
  Open("b");
  const auto gap = Next(Kind::kGap);
  EXPECT_EQ(gap->gap.reason, "not_journalled");
  EXPECT_EQ(gap->gap.lost, 7u);
}

TEST_F(FeedReaderTest, ASlowReaderHoldsTheSourceUpAndGetsEverything) {
  for (int i = 0; i < 2000; ++i) {
    Append("a" + std::to_string(i), v1::IncidentChange::OPENED, [](v1::IncidentChange* change) { change->mutable_incident()->set_summary(std::string(2000, 's')); });
  }
  Read(ReaderOptions(), 50'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(ChangesUpTo(2000).size(), 2000u);
}

TEST_F(FeedReaderTest, ASpoolIsReadFirstAndAgainBeforeAGapIsTold) {
  for (int i = 0; i < 10; ++i) Open("a" + std::to_string(i));
  for (int i = 0; i < 10; ++i) Resolve("a" + std::to_string(i));
  Append("late", v1::IncidentChange::OPENED, [](v1::IncidentChange* change) { change->mutable_time()->set_seconds(1'900'000'000); });
  const auto spool = *journal_->Read(0, 100);
  ASSERT_TRUE(journal_->Compact(1'800'000'000LL * 1'000'000'000).ok());
  ASSERT_GT(journal_->oldest_sequence(), 5u);
  FeedReaderOptions options = ReaderOptions();
  options.feed_id = journal_->feed_id();
  options.start_after = 3;
  std::atomic<int> asked = 0;
  options.spooled = [&](const std::string&, uint64_t after) {
    std::vector<v1::IncidentChange> changes;
    if (++asked == 1) return changes;  // it is spooled while the reader is on its way
    for (const auto& change : spool) {
      if (change.sequence() > after && changes.size() < 4) changes.push_back(change);
    }
    return changes;
  };
  Read(options);
  std::vector<uint64_t> expected;
  for (uint64_t i = 4; i <= 21; ++i) expected.push_back(i);
  EXPECT_EQ(ChangesUpTo(21), expected);
  Next(Kind::kOpenNow);
  EXPECT_EQ(Count(Kind::kGap), 0u) << "nothing was lost";
}

TEST_F(FeedReaderTest, EndsWithinASecondWhateverItWaitsFor) {
  const auto end_within_a_second = [&](const char* what) {
    const auto begun = steady_clock::now();
    StopReader();
    EXPECT_LT(steady_clock::now() - begun, std::chrono::milliseconds(1000)) << what;
  };
  for (int i = 0; i < 500; ++i) Append("a" + std::to_string(i), v1::IncidentChange::OPENED, [](v1::IncidentChange* change) { change->mutable_incident()->set_summary(std::string(2000, 's')); });
  Read(ReaderOptions());
  Next(Kind::kOpenNow);
  end_within_a_second("a quiet stream");
  Read(ReaderOptions(), 10'000);
  Next(Kind::kChange);
  end_within_a_second("a full mailbox");
  server_.reset();
  Read(ReaderOptions());
  Next(Kind::kDisconnected);
  end_within_a_second("a source that is away");
  FeedReaderOptions nowhere = ReaderOptions();
  nowhere.address = "unix://" + folder_ / "nobody.sock";
  nowhere.from_now = true;
  Read(nowhere);
  Next(Kind::kDisconnected);
  end_within_a_second("a socket that is not there");
}

TEST_F(FeedReaderTest, ASourceThatLiesAboutItsFeedIsNotFollowedInABusyLoop) {
  Open("a");
  FeedReaderOptions options = ReaderOptions();
  options.feed_id = "somebody-elses";
  options.start_after = 3;
  view_.claims = "somebody-elses";  // but its journal is another: each Watch ends with OUT_OF_RANGE
  Read(options);
  Next(Kind::kDisconnected);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  for (FeedEvent& event : mailbox_->Take(100'000, steady_clock::now())) events_.push_back(std::move(event));
  EXPECT_LE(Count(Kind::kGap), 2u);
  EXPECT_LE(events_.size(), 20u);
}

TEST_F(FeedReaderTest, WhatNoOutlierdSaysEndsTheStreamWithAReason) {
  Read(ReaderOptions());
  Next(Kind::kOpenNow);
  Open(std::string(10'000, 'i'));
  EXPECT_NE(Next(Kind::kDisconnected)->message.find("10000 bytes"), std::string::npos);
  FeedReaderOptions options = ReaderOptions();
  options.from_now = true;
  for (const std::string& claim : {std::string("with\nnewline"), std::string(1 << 20, 'x'), std::string("sp ace")}) {
    view_.claims = claim;
    Read(options);
    const auto event = Next(Kind::kDisconnected);
    EXPECT_NE(event->message.find("feed_id"), std::string::npos) << event->message;
    EXPECT_LT(event->message.size(), 1000u);
  }
}

TEST_F(FeedReaderTest, IncidentsAreOfTheFeedThatSpeaksOfThemWhateverStandsInThem) {
  Append("a", v1::IncidentChange::OPENED, [](v1::IncidentChange* change) { change->mutable_incident()->mutable_source()->set_feed_id("another-hosts"); });
  Read(ReaderOptions());
  EXPECT_EQ(Next(Kind::kChange)->change.incident().source().feed_id(), journal_->feed_id());
  EXPECT_EQ(Next(Kind::kOpenNow)->open.at(0).source().feed_id(), journal_->feed_id());
}

}  // namespace
}  // namespace outlier
