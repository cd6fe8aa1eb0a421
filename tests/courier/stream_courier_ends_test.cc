// Whoever was told of an incident is told of its end, over crashes, compactions and journals that are gone.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "tests/courier/stream_courier_fixture.h"

namespace outlier {
namespace {

TEST_F(StreamCourierTest, FollowsAnAdmittedIncidentToItsEndOverACrash) {
  bench_.config().mutable_route()->set_min_severity("major");
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  feed().Open("b", bench_.now, v1::Incident::MAJOR);
  bench_.Run(seconds(5));
  bench_.Restart();
  feed().Update("b", bench_.now, v1::Incident::WARNING);
  feed().Resolve("b", bench_.now);
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  ASSERT_EQ(server().taken.size(), 3u);
  EXPECT_EQ(server().taken.back().change.kind(), v1::IncidentChange::RESOLVED);
  for (const auto& one : server().taken) EXPECT_EQ(one.incident, "feed0:b");
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

TEST_F(StreamCourierTest, AnIncidentWhoseEndIsInALaterBatchIsFollowedThereOverACrash) {
  bench_.config().mutable_route()->set_min_severity("major");
  bench_.config().mutable_delivery()->set_max_items(2);
  for (const char* id : {"a", "b", "c"}) feed().Open(id, bench_.now);
  feed().Resolve("a", bench_.now);
  for (const char* id : {"b", "c"}) feed().Add(v1::IncidentChange::RESOLVED, id, bench_.now, v1::Incident::WARNING);  // the route alone would not let it through
  for (int sent = 0; sent < 2; ++sent) {
    bench_.Read();
    bench_.now += seconds(1);
    ASSERT_TRUE(bench_.Send());
    bench_.Restart();
  }
  bench_.Run(seconds(5));
  ExpectAllOnceInOrder();
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

// Of a backlog most incidents have begun and ended within a batch: of those the ledger need not hear.
TEST_F(StreamCourierTest, AnIncidentThatBeginsAndEndsWithinABatchCostsTheLedgerNothing) {
  const auto written = [&](int incidents) {
    for (int i = 0; i < incidents; ++i) {
      feed().Open(fmt::format("{}-{}", incidents, i), bench_.now);
      feed().Resolve(fmt::format("{}-{}", incidents, i), bench_.now);
    }
    const auto before = std::filesystem::file_size(bench_.database() + "-wal");
    bench_.Run(seconds(5));
    return std::filesystem::file_size(bench_.database() + "-wal") - before;
  };
  feed().Open("first", bench_.now);
  bench_.Run(seconds(5));
  const auto one = written(1), five_hundred = written(500);
  EXPECT_EQ(server().requests.size(), 3u);
  EXPECT_LE(five_hundred, one + (16u << 10));
  ExpectAllOnceInOrder();
}

// Some sinks know an incident again by it. What is kept is cut between characters, or it could not be read again.
TEST_F(StreamCourierTest, AnEndThatWasCompactedAwayCarriesTheOpeningHoweverLong) {
  std::string detail = "x";
  while (detail.size() < 6000) detail += "\u00e9";
  feed().Open("a", bench_.now, v1::Incident::MAJOR, [&](v1::Incident* incident) { incident->add_changes()->set_detail(detail); });
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Resolve("a", bench_.now);
  for (int i = 0; i < 10; ++i) feed().Update("b", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Run(seconds(30));
  const auto end = std::find_if(server().taken.begin(), server().taken.end(), [](const auto& one) { return !one.gap && one.change.incident().state() == v1::Incident::RESOLVED; });
  ASSERT_NE(end, server().taken.end());
  ASSERT_EQ(end->change.incident().changes_size(), 1);
  const std::string& kept = end->change.incident().changes(0).detail();
  EXPECT_GT(kept.size(), 4000u);
  EXPECT_LT(kept.size(), detail.size());
}

TEST_F(StreamCourierTest, AnEndThatWasCompactedAwayIsToldAllTheSame) {
  for (int i = 0; i < 5; ++i) feed().Open(fmt::format("i{}", i), bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  for (int i = 0; i < 3; ++i) feed().Resolve(fmt::format("i{}", i), bench_.now);
  for (int i = 0; i < 10; ++i) feed().Update("i4", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Run(seconds(30));
  std::map<std::string, v1::Incident::State> state;
  std::set<std::string> keys;
  size_t gaps = 0;
  for (const auto& one : server().taken) {
    EXPECT_TRUE(keys.insert(one.key).second) << "two findings with the identity " << one.key;
    if (one.gap) {
      ++gaps;
      EXPECT_EQ(one.gap->reason, "compacted");
      continue;
    }
    state[one.change.incident().id()] = one.change.incident().state();
  }
  EXPECT_EQ(gaps, 1u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(state[fmt::format("i{}", i)], i < 3 ? v1::Incident::RESOLVED : v1::Incident::OPEN) << i << ": of a pair only one";
}

TEST_F(StreamCourierTest, WhatWasOpenInAJournalThatIsGoneIsEnded) {
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Wipe("feed-new");
  bench_.Start();
  bench_.Run(seconds(30));
  ASSERT_EQ(server().taken.size(), 5u);
  EXPECT_EQ(server().taken[3].gap->reason, "feed_replaced");
  EXPECT_EQ(server().taken[4].incident, "feed0:a");
  EXPECT_EQ(server().taken[4].change.incident().state(), v1::Incident::RESOLVED);
  EXPECT_GT(server().taken[4].change.sequence(), 3u);
  bench_.Restart();
  bench_.Run(seconds(30));
  EXPECT_EQ(server().taken.size(), 5u) << "the gap is told once, though the new journal is empty";
}

// Of what a person has sent again, to a sink where what is told to be open stays open.
TEST_F(StreamCourierTest, ALetterThatSaysThatAnIncidentIsOpenIsNotSentAgainAfterItsEnd) {
  server().item = [](const Finding& f, WallTime) { return f.change.sequence() == 1 ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  server().item = {};
  bench_.Restart();
  const auto letters = *bench_.ledger().DeadLetters("oncall", 10);
  ASSERT_EQ(letters.size(), 1u);
  bench_.courier().Resend(letters);
  bench_.Run(seconds(5));
  ASSERT_EQ(server().taken.back().incident, "feed0:a");
  EXPECT_EQ(server().taken.back().change.kind(), v1::IncidentChange::RESOLVED) << "open there for ever";
  EXPECT_EQ(bench_.Status().expired(), 1u);
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 0u) << "nothing that could be said";
}

TEST_F(StreamCourierTest, ALetterOfAnIncidentThatIsOpenOrSaysThatItIsOverIsSentAgain) {
  server().item = [](const Finding& f, WallTime) { return f.change.sequence() % 2 == 1 ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  feed().Open("a", bench_.now);     // refused
  feed().Open("b", bench_.now);
  feed().Resolve("b", bench_.now);  // refused
  bench_.Run(seconds(5));
  server().item = {};
  bench_.courier().Resend(*bench_.ledger().DeadLetters("oncall", 10));
  bench_.Run(seconds(5));
  ExpectAllOnceInOrder();
  EXPECT_EQ(server().taken.size(), 3u);
}

// Asked for while it was open, but its end is on its way before that is sent.
TEST_F(StreamCourierTest, ALetterWhoseIncidentEndsBeforeItsTurnIsNotSentAgain) {
  server().limits.works_ahead = true;
  bench_.config().mutable_delivery()->set_max_items(2);
  server().item = [](const Finding& f, WallTime) { return f.change.sequence() == 1 ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  const auto letters = *bench_.ledger().DeadLetters("oncall", 10);
  ASSERT_EQ(letters.size(), 1u);
  server().item = {};
  feed().Update("b", bench_.now);
  feed().Update("b", bench_.now);
  bench_.Read();
  feed().Resolve("a", bench_.now);
  feed().Update("b", bench_.now);
  bool asked = false;
  bench_.on_request = [&] {
    if (!std::exchange(asked, true)) bench_.courier().Resend(letters);
  };
  ASSERT_TRUE(bench_.Send());
  bench_.Run(seconds(5));
  std::vector<v1::IncidentChange::Kind> of_a;
  for (const auto& one : server().taken) {
    if (one.incident == "feed0:a") of_a.push_back(one.change.kind());
  }
  EXPECT_EQ(of_a, std::vector{v1::IncidentChange::RESOLVED});
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 0u);
}

// To whoever keeps changes by their own time a late one is history, which would lack it.
TEST_F(StreamCourierTest, ALetterGoesToASinkThatKeepsHistoryAlsoAfterTheEnd) {
  server().limits.history = true;
  server().item = [](const Finding& f, WallTime) { return f.change.sequence() == 1 ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  server().item = {};
  bench_.courier().Resend(*bench_.ledger().DeadLetters("oncall", 10));
  bench_.Run(seconds(5));
  EXPECT_EQ(server().taken.back().change.kind(), v1::IncidentChange::OPENED);
  EXPECT_EQ(server().times.size(), 3u);
}

// The sink takes nothing that old, but what was told to be open there would stay open.
TEST_F(StreamCourierTest, AnEndWhoseOpeningWasDeliveredIsToldHoweverOldAndOneOfAnOpeningThatExpiredIsNot) {
  for (const size_t at_once : {1u, 100u}) {  // most of it waits, or all of it is under way
    SCOPED_TRACE(at_once);
    const std::string a = fmt::format("a{}", at_once), b = fmt::format("b{}", at_once);
    bench_.config().mutable_delivery()->set_max_items(static_cast<uint32_t>(at_once));
    server().limits.oldest = hours(18);
    server().taken.clear();
    bench_.Restart();
    feed().Open(a, bench_.now);
    bench_.Run(seconds(5));
    const uint64_t expired = bench_.Status().expired();
    server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
    feed().Update(a, bench_.now);
    feed().Open(b, bench_.now);
    feed().Resolve(a, bench_.now);
    feed().Resolve(b, bench_.now);
    bench_.Run(hours(20));
    server().says = [](const auto&, WallTime) { return Says::kTakes; };
    bench_.Run(minutes(20));
    ASSERT_EQ(server().taken.size(), 2u);
    EXPECT_EQ(server().taken[1].change.kind(), v1::IncidentChange::RESOLVED) << "open there for ever";
    EXPECT_EQ(server().taken[1].incident, "feed0:" + a);
    EXPECT_EQ(bench_.Status().expired(), expired + 3);
    EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
  }
}

TEST_F(StreamCourierTest, AnEndOfAnIncidentThatWasToldBeforeARestartIsToldHoweverOld) {
  server().limits.oldest = hours(18);
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Crash();
  bench_.now += hours(20);
  bench_.Start();
  bench_.Run(seconds(5));
  ASSERT_EQ(server().taken.size(), 2u);
  EXPECT_EQ(server().taken[1].change.kind(), v1::IncidentChange::RESOLVED);
}

TEST_F(StreamCourierTest, AnEndThatIsTooOldForASinkThatKeepsHistoryIsExpired) {
  server().limits.oldest = hours(18);
  server().limits.history = true;
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Crash();
  bench_.now += hours(20);
  bench_.Start();
  bench_.Run(seconds(5));
  EXPECT_EQ(server().taken.size(), 1u);
  EXPECT_EQ(bench_.Status().expired(), 1u);
}

// A machine that was put back to a snapshot: what it tells next has the numbers of what it told before.
TEST_F(StreamCourierTest, AfterAJournalIsPutBackNothingNewHasTheIdentityOfWhatWasLost) {
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Resolve("a", bench_.now);
  feed().Open("c", bench_.now);
  for (int i = 0; i < 4; ++i) feed().Update("b", bench_.now);
  bench_.Run(seconds(5));
  for (int again = 0; again < 2; ++again) {
    const uint64_t last = feed().last();
    bench_.now += hours(1);
    feed().Rewind(2);
    bench_.Run(seconds(5));
    feed().Update("a", bench_.now);
    feed().Update("b", bench_.now);
    bench_.Run(seconds(5));
    ASSERT_FALSE(server().sent.back().empty());
    EXPECT_EQ(server().sent.back().back().change.sequence(), 4u);
    ASSERT_TRUE(server().sent.back().back().rewind.has_value());
    EXPECT_EQ(server().sent.back().back().rewind->last, std::max<uint64_t>(last, 8));
    bench_.Restart();  // it is remembered
    feed().Resolve("b", bench_.now);
    bench_.Run(seconds(5));
    EXPECT_TRUE(server().sent.back().back().rewind.has_value());
  }
  while (feed().last() < 10) feed().Update("a", bench_.now);
  bench_.Run(seconds(5));
  for (const Finding& finding : server().sent.back()) EXPECT_EQ(finding.rewind.has_value(), finding.change.sequence() <= 8) << finding.change.sequence();
  for (const auto& [key, times] : server().times) EXPECT_EQ(times, 1) << key;
  std::set<std::string> open;
  for (const auto& one : server().taken) {
    if (one.gap) continue;
    one.change.incident().state() == v1::Incident::OPEN ? void(open.insert(one.incident)) : void(open.erase(one.incident));
  }
  EXPECT_EQ(open, std::set<std::string>{"feed0:a"}) << "as it is there; c never was";
  const auto followed = *bench_.ledger().Followed("oncall");
  ASSERT_EQ(followed.size(), 1u) << "only what is open";
  EXPECT_EQ(followed[0].incident_key(), "feed0:a");
}

// What was read before and after goes in one batch: the cursor is where the journal is now, or what it tells while the relay is away is never read.
TEST_F(StreamCourierTest, TheCursorGoesBackWithTheJournal) {
  feed().Open("a", bench_.now);
  for (int i = 0; i < 7; ++i) feed().Update("a", bench_.now);
  bench_.Read();
  feed().Rewind(2);
  bench_.Run(seconds(5));
  const auto cursors = *bench_.ledger().Cursors("oncall");
  ASSERT_EQ(cursors.size(), 1u);
  EXPECT_EQ(cursors[0].sequence, 2u);
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 2u);
  bench_.Crash();
  feed().Resolve("a", bench_.now);
  bench_.Start();
  bench_.Run(seconds(5));
  EXPECT_EQ(server().taken.back().change.kind(), v1::IncidentChange::RESOLVED);
  EXPECT_EQ(server().taken.back().change.sequence(), 3u);
}

TEST_F(StreamCourierTest, ThePlaceThatIsShownGoesBackWithTheJournalThoughABatchOfBeforeIsUnderWay) {
  feed().Open("a", bench_.now);
  for (int i = 0; i < 7; ++i) feed().Update("a", bench_.now);
  bool put_back = false;
  bench_.on_request = [&] {
    if (std::exchange(put_back, true)) return;
    feed().Rewind(2);
    bench_.Read();
  };
  bench_.Run(seconds(5));
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 2u);
  EXPECT_EQ(bench_.ledger().Cursors("oncall")->front().sequence, 2u);
}

TEST_F(StreamCourierTest, OfAJournalThatWasPutBackAndThenIsGoneNothingIsKept) {
  for (const char* id : {"a", "b", "c"}) feed().Open(id, bench_.now);
  bench_.Run(seconds(5));
  feed().Rewind(1);
  bench_.Run(seconds(5));
  ASSERT_EQ(bench_.ledger().Followed("oncall")->size(), 2u) << "a, and that it was put back";
  feed().Wipe("feed-new");
  bench_.Run(seconds(5));
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
  const Finding& end = server().sent.back().back();
  EXPECT_EQ(end.incident().id(), "a");
  ASSERT_TRUE(end.rewind.has_value()) << "under a number that another had";
  for (const auto& [key, times] : server().times) EXPECT_EQ(times, 1) << key;
}

TEST_F(StreamCourierTest, ChangesInPartsBeforeACompactionAreNotLostByACrash) {
  bench_.config().mutable_delivery()->set_max_items(1);
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Open("b", bench_.now);
  for (int i = 0; i < 10; ++i) feed().Update("a", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Read();
  bench_.now += seconds(1);
  ASSERT_TRUE(bench_.Send());  // the gap
  bench_.Restart();
  bench_.Run(seconds(30));
  EXPECT_TRUE(std::any_of(server().taken.begin(), server().taken.end(), [](const auto& one) { return one.incident == "feed0:b"; }));
}

TEST_F(StreamCourierTest, AGapIsNothingForASinkThatTakesNoChanges) {
  server().limits.changes = false;
  FeedEvent event;
  event.kind = FeedEvent::Kind::kGap;
  event.feed_id = "feed0";
  event.gap = {0, 0, 5, "not_journalled"};
  event.time = bench_.now;
  bench_.courier().Take(event, bench_.now);
  bench_.Run(seconds(10));
  EXPECT_TRUE(server().requests.empty());
}

}  // namespace
}  // namespace outlier
