// Nothing stays open at a pager that is open nowhere else, whatever died in between.
#include <filesystem>
#include <set>
#include <utility>

#include "tests/courier/state_courier_fixture.h"

namespace outlier {
namespace {

using Action = Page::Action;

TEST_F(StateCourierTest, ACrashBetweenThePageAndItsRecordLeavesNoGhost) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Read();
  ASSERT_TRUE(bench_.Send(false));
  ASSERT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  bench_.Crash();
  feed().Resolve("a", bench_.now += minutes(2));
  bench_.Start();
  bench_.Run(minutes(30));
  EXPECT_TRUE(pager().open.empty()) << "somebody's telephone rings for ever";
}

TEST_F(StateCourierTest, AnAnswerThatWasLostLeavesNoGhost) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kLost; };
  feed().Open("a", bench_.now);
  bench_.Run(seconds(3));
  ASSERT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  bench_.Run(minutes(2));
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(2));
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(30));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, WhatNeverReachedThePagerIsNotResolvedThere) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  feed().Open("a", bench_.now);
  bench_.Run(minutes(2));
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(2));
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().Count(Action::kResolve), 0u);
  EXPECT_EQ(pager().Count(Action::kDigest), 1u);
}

TEST_F(StateCourierTest, AWipedSourceLeavesNoGhost) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Wipe("feed-new");
  feed().Open("b", bench_.now);
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"b"});
}

TEST_F(StateCourierTest, ASourceWipedWhileTheRelayWasAwayLeavesNoGhost) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Wipe("feed-new");
  bench_.Start();
  bench_.Run(minutes(1));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, AnIncidentGoneWhileTheRelayWasAwayLeavesNoGhostEvenIfItsChangesAreCompacted) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Resolve("a", bench_.now);
  for (int i = 0; i < 10; ++i) feed().Open("b", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"b"});
}

TEST_F(StateCourierTest, AJournalPutBackToAnOlderStateIsFollowedFromThere) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  for (int i = 0; i < 20; ++i) feed().Update("a", bench_.now);
  bench_.Run(minutes(6));
  feed().Rewind(1);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(30));
  EXPECT_TRUE(pager().open.empty()) << "its numbers are smaller than those before, and it was not listened to";
}

TEST_F(StateCourierTest, ASourceThatComesBackIsPagedOnceAndReplayedChangesAreNot) {
  Begin();
  for (int i = 0; i < 10; ++i) {
    feed().Open(fmt::format("i{}", i), bench_.now);
    bench_.Run(seconds(2));
    if (i % 2 == 0) feed().Resolve(fmt::format("i{}", i), bench_.now);
    bench_.Run(seconds(2));
    if (i % 3 == 0) bench_.Restart();
    if (i % 3 == 1) feed().Disconnect();
  }
  bench_.Run(minutes(30));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pager().Count(Action::kOpen, fmt::format("i{}", i)), 1u) << i;
  EXPECT_EQ(pager().Count(Action::kResolve), 5u);
  EXPECT_EQ(pager().Count(Action::kDigest), 0u);
}

TEST_F(StateCourierTest, ASourceThatClaimsAnothersFeedResolvesNothingOfIt) {
  Bench two(true, 2);
  two.Run(seconds(5));
  two.feed(0).Open("a", two.now);
  two.Run(seconds(5));
  ASSERT_EQ(two.pager.OpenIds(), std::set<std::string>{"a"});
  two.feed(1).Wipe("feed0");  // says that it is the other's journal, and that nothing is open
  two.Run(minutes(1));
  two.feed(1).Resolve("a", two.now);
  two.Run(minutes(1));
  EXPECT_EQ(two.pager.OpenIds(), std::set<std::string>{"a"});
  const auto status = two.Status();
  EXPECT_NE(status.sources(1).message().find("feed0"), std::string::npos) << status.sources(1).message();
  two.feed(0).Resolve("a", two.now);
  two.Run(minutes(1));
  EXPECT_TRUE(two.pager.open.empty());
}

TEST_F(StateCourierTest, FeedbackAfterTheEndIsNoMissedIncident) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  pager().says = [](const Page&, WallTime) { return Says::kUnavailable; };
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  feed().Add(v1::IncidentChange::FEEDBACK, "a", bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) { incident->set_state(v1::Incident::RESOLVED); });
  bench_.Run(seconds(5));
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().Count(Action::kDigest), 0u);
}

TEST_F(StateCourierTest, ASourceNoLongerConfiguredLeavesNoGhost) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Wipe("other");  // the address leads to another host's feed now, and the old one is nowhere
  relay::v1::Held held;
  {
    std::vector<std::string> messages;
    auto ledger = Ledger::Open(bench_.database(), &messages);
    ASSERT_TRUE(ledger.ok());
    auto all = (*ledger)->Held("oncall");
    ASSERT_EQ(all->size(), 1u);
    held = all->front();
    held.set_incident_key("feed9:z");
    held.set_source("unix:///run/gone.sock");
    held.mutable_change()->mutable_incident()->set_id("z");
    held.mutable_change()->mutable_incident()->mutable_source()->set_feed_id("feed9");
    Entry entry;
    entry.sink = "oncall";
    entry.held.push_back(held);
    ASSERT_TRUE((*ledger)->Write(entry).ok());
  }
  bench_.Start();
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().Count(Action::kResolve, "z"), 1u);
  EXPECT_EQ(pager().Count(Action::kResolve, "a"), 1u);
}

// Under the name of a sink there is another vendor now; what was held by the one before is returned.
PagerServer Replace(Bench* bench, const std::string& kind, PagerServer by = {}) {
  bench->Crash();
  bench->kind = kind;
  return std::exchange(bench->pager, std::move(by));
}

TEST_F(StateCourierTest, AnotherVendorUnderTheSameNameIsPagedAndAPersonIsToldWhatIsOpenAtTheOldOne) {
  Begin();
  for (const char* id : {"a", "b", "over"}) feed().Open(id, bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("over", bench_.now);
  bench_.Run(seconds(5));
  Replace(&bench_, "other");
  feed().Resolve("b", bench_.now += minutes(1));
  bench_.Start();
  bench_.Run(minutes(20));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  EXPECT_EQ(pager().said.size(), 1u) << "of what was paged elsewhere and is over it has nothing to say";
  const auto told = [&] { return bench_.Status().message().find("2 pages that were sent to scripted") != std::string::npos; };
  EXPECT_TRUE(told()) << bench_.Status().message();
  bench_.Restart();
  bench_.Run(minutes(1));
  EXPECT_TRUE(told()) << "a restart has closed nothing there";
  EXPECT_EQ(pager().Count(Action::kOpen), 1u);
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(20));
  EXPECT_TRUE(pager().open.empty());
  pager().says = [](const Page&, WallTime) { return Says::kUnauthorized; };
  feed().Open("c", bench_.now);
  bench_.Run(minutes(1));
  bench_.courier().RetryNow(bench_.now);  // for another reason
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(2));
  EXPECT_TRUE(told());
  bench_.courier().RetryNow(bench_.now);  // a person's word
  EXPECT_EQ(bench_.Status().message(), "");
  bench_.Restart();
  EXPECT_EQ(bench_.Status().message(), "");
}

TEST_F(StateCourierTest, AVendorThatIsPutBackIsNotPagedAgainAndIsToldOfTheEnd) {
  Begin();
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  PagerServer first = Replace(&bench_, "other");
  bench_.Run(minutes(1));
  ASSERT_EQ(pager().OpenIds(), (std::set<std::string>{"a", "b"}));
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  const PagerServer second = Replace(&bench_, "scripted", std::move(first));
  bench_.Run(minutes(20));
  EXPECT_EQ(second.OpenIds(), std::set<std::string>{"a"});
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  EXPECT_EQ(pager().Count(Action::kOpen), 2u) << "once each";
  EXPECT_NE(bench_.Status().message().find("1 page that was sent to other"), std::string::npos) << bench_.Status().message();
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(20));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, WhatEndsByItselfAtTheOldVendorNeedsNobody) {
  pager().capabilities.repeat_open = seconds(60);
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  Replace(&bench_, "other");
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  EXPECT_EQ(bench_.Status().message(), "");
}

TEST_F(StateCourierTest, WhatALedgerHoldsFromBeforeKindsWereWrittenIsOfTheSinkThatIsThere) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  {
    std::vector<std::string> messages;
    auto ledger = Ledger::Open(bench_.database(), &messages);
    ASSERT_TRUE(ledger.ok());
    Entry entry;
    entry.sink = "oncall";
    entry.held = *(*ledger)->Held("oncall");
    ASSERT_EQ(entry.held.size(), 1u);
    EXPECT_EQ(entry.held.front().kind(), "scripted");
    entry.held.front().clear_kind();
    ASSERT_TRUE((*ledger)->Write(entry).ok());
  }
  bench_.Start();
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().said.size(), 1u);
  EXPECT_EQ(bench_.Status().message(), "");
  Replace(&bench_, "other");
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  EXPECT_NE(bench_.Status().message().find("1 page that was sent to scripted"), std::string::npos) << bench_.Status().message();
}

TEST_F(StateCourierTest, APagerThatBecomesAChatLeavesItsPagesToAPerson) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  Bench chat(false);
  std::filesystem::copy_file(bench_.database(), chat.database(), std::filesystem::copy_options::overwrite_existing);
  chat.kind = "chat";
  EXPECT_NE(chat.Status().message().find("1 page that was sent to scripted"), std::string::npos) << chat.Status().message();
}

}  // namespace
}  // namespace outlier
