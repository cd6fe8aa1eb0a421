#include <algorithm>

#include "tests/courier/harness.h"

namespace outlier {
namespace {

using Action = Page::Action;
using testing::Test;

class StateCourierTest : public Test {
 protected:
  StateCourierTest() : bench_(true) {}
  void TearDown() override { EXPECT_EQ(bench_.pager.violations, std::vector<std::string>{}); }
  FakeFeed& feed() { return bench_.feed(); }
  PagerServer& pager() { return bench_.pager; }
  // Read up to now, so that it is no first start.
  void Begin() { bench_.Run(seconds(5)); }

  Bench bench_;
};

TEST_F(StateCourierTest, OpensAndResolvesOneIncident) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_TRUE(pager().open.empty());
  EXPECT_EQ(pager().said.size(), 2u);
  EXPECT_EQ(bench_.Status().delivered(), 2u);
  EXPECT_EQ(bench_.Status().open_there(), 0u);
}

TEST_F(StateCourierTest, AtItsFirstStartPagesWhatIsOpenAndNotWhatWas) {
  feed().Open("old", bench_.now - hours(5));
  feed().Resolve("old", bench_.now - hours(4));
  feed().Open("still", bench_.now - hours(3));
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"still"});
  EXPECT_EQ(pager().said.size(), 1u);
}

TEST_F(StateCourierTest, AfterAnOutageThePagerGetsTheLatestStateAndOneDigest) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  for (int i = 0; i < 30; ++i) {
    const std::string id = fmt::format("gone{}", i);
    feed().Open(id, bench_.now);
    bench_.Run(minutes(20));
    feed().Resolve(id, bench_.now);
    bench_.Run(minutes(20));
  }
  feed().Open("stays", bench_.now, v1::Incident::MINOR);
  bench_.Run(minutes(20));
  feed().Update("stays", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(hours(4));
  EXPECT_TRUE(pager().said.empty());
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(hours(1));
  ASSERT_EQ(pager().said.size(), 2u);
  EXPECT_EQ(pager().said[0].action, Action::kOpen);
  EXPECT_EQ(pager().said[0].key, "stays");
  EXPECT_EQ(pager().said[0].severity, v1::Incident::CRITICAL);
  EXPECT_EQ(pager().said[1].action, Action::kDigest);
  EXPECT_EQ(pager().said[1].text.substr(0, 12), "30 incidents");
}

TEST_F(StateCourierTest, WhatCameAndWentWhileARequestHungIsTold) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Read();
  auto request = bench_.courier().Next(bench_.now);
  ASSERT_TRUE(request);
  feed().Open("b", bench_.now);
  feed().Resolve("b", bench_.now);
  bench_.Read();
  bench_.courier().Receive(pager().Receive(*request, bench_.now), bench_.now += seconds(29));
  bench_.Run(minutes(30));
  ASSERT_EQ(pager().Count(Action::kDigest), 1u) << "neither paged, nor in a digest, nor counted";
  EXPECT_NE(pager().said.back().text.find("b is MAJOR"), std::string::npos) << pager().said.back().text;
}

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

TEST_F(StateCourierTest, AnUpdateThatCrossesTheSeverityLinePages) {
  bench_.config().mutable_route()->set_min_severity("major");
  Begin();
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  bench_.Run(minutes(1));
  EXPECT_TRUE(pager().said.empty());
  feed().Update("a", bench_.now, v1::Incident::MAJOR);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
}

TEST_F(StateCourierTest, AResolutionGoesToWhoeverWasPagedWhateverTheRouteSaysNow) {
  bench_.config().mutable_route()->set_min_severity("major");
  Begin();
  feed().Open("a", bench_.now, v1::Incident::MAJOR);
  feed().Open("b", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(seconds(5));
  feed().Update("a", bench_.now, v1::Incident::WARNING);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"b"});
  bench_.config().mutable_route()->set_workload("nobody*");
  bench_.Restart();
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, EscalatesAtOnceAndTellsOtherUpdatesSeldom) {
  Begin();
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  bench_.Run(seconds(5));
  for (int i = 0; i < 60; ++i) {
    feed().Update("a", bench_.now, v1::Incident::MINOR);
    bench_.Run(seconds(10));
  }
  EXPECT_LE(pager().Count(Action::kUpdate), 2u);
  EXPECT_GE(pager().Count(Action::kUpdate), 1u);
  const size_t before = pager().Count(Action::kUpdate);
  feed().Update("a", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(seconds(2));
  EXPECT_EQ(pager().Count(Action::kUpdate), before + 1);
  EXPECT_EQ(pager().said.back().severity, v1::Incident::CRITICAL);
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

TEST_F(StateCourierTest, ThePageCapIsKeptAndTold) {
  bench_.config().mutable_paging()->set_max_pages_per_hour(5);
  Begin();
  for (int i = 0; i < 30; ++i) feed().Open(fmt::format("i{:02}", i), bench_.now, i == 29 ? v1::Incident::CRITICAL : v1::Incident::MINOR);
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().Count(Action::kOpen), 5u);
  EXPECT_EQ(pager().said.front().severity, v1::Incident::CRITICAL) << "the worst first";
  ASSERT_EQ(pager().Count(Action::kDigest), 1u) << "25 incidents are open and nobody is told";
  const std::string text = std::find_if(pager().said.begin(), pager().said.end(), [](const auto& one) { return one.action == Action::kDigest; })->text;
  EXPECT_NE(text.find("25"), std::string::npos) << text;
  EXPECT_EQ(bench_.Status().pages_withheld(), 25u);
  bench_.Run(minutes(45));
  EXPECT_EQ(pager().Count(Action::kOpen), 10u) << "the next hour's";
}

TEST_F(StateCourierTest, ACrashDoesNotFreeThePageCap) {
  bench_.config().mutable_paging()->set_max_pages_per_hour(5);
  Begin();
  for (int i = 0; i < 30; ++i) {
    feed().Open(fmt::format("i{:02}", i), bench_.now);
    bench_.Run(seconds(10));
    bench_.Restart();
  }
  bench_.Run(seconds(10));
  EXPECT_EQ(pager().Count(Action::kOpen), 5u);
}

TEST_F(StateCourierTest, AWorkloadThatFlapsIsHeldDownAndTold) {
  Begin();
  const auto of_one = [](v1::Incident* incident) { incident->mutable_workload()->set_name("flapper"); };
  for (int i = 0; i < 20; ++i) {
    const std::string id = fmt::format("i{}", i);
    feed().Open(id, bench_.now, v1::Incident::MINOR, of_one);
    bench_.Run(seconds(30));
    feed().Resolve(id, bench_.now);
    bench_.Run(seconds(30));
  }
  bench_.Run(minutes(30));
  EXPECT_LE(pager().Count(Action::kOpen), 2u);
  EXPECT_GE(pager().Count(Action::kDigest), 1u);
  EXPECT_GE(bench_.Status().pages_withheld(), 10u);
  // One that lasts pages all the same, one that is worse at once.
  feed().Open("worse", bench_.now, v1::Incident::CRITICAL, of_one);
  bench_.Run(seconds(5));
  EXPECT_TRUE(pager().OpenIds().contains("worse"));
}

TEST_F(StateCourierTest, WhatLastsThroughTheHoldDownPages) {
  Begin();
  const auto of_one = [](v1::Incident* incident) { incident->mutable_workload()->set_name("flapper"); };
  feed().Open("one", bench_.now, v1::Incident::MINOR, of_one);
  bench_.Run(seconds(30));
  feed().Resolve("one", bench_.now);
  bench_.Run(seconds(30));
  feed().Open("two", bench_.now, v1::Incident::MINOR, of_one);
  bench_.Run(minutes(4));
  EXPECT_FALSE(pager().OpenIds().contains("two"));
  bench_.Run(minutes(2));
  EXPECT_TRUE(pager().OpenIds().contains("two"));
}

TEST_F(StateCourierTest, RelatedIncidentsShareAPageAndTheOneThatGoesOnGetsItsOwn) {
  Begin();
  feed().Open("lead", bench_.now, v1::Incident::CRITICAL);
  feed().Open("rider", bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) { incident->add_related_incident_ids("lead"); });
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"lead"});
  ASSERT_EQ(pager().said.front().related.size(), 1u);
  feed().Resolve("lead", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"rider"});
  feed().Resolve("rider", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, ARelatedIncidentThatIsWorseHasItsOwnPage) {
  Begin();
  feed().Open("lead", bench_.now, v1::Incident::MINOR);
  bench_.Run(seconds(5));
  feed().Open("rider", bench_.now, v1::Incident::CRITICAL, [](v1::Incident* incident) { incident->add_related_incident_ids("lead"); });
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().OpenIds(), (std::set<std::string>{"lead", "rider"}));
}

TEST_F(StateCourierTest, ASilencePagesNobodyAndPagesWhenItExpires) {
  Begin();
  relay::v1::Silence silence;
  silence.set_author("ann");
  silence.set_reason("maintenance");
  silence.mutable_match()->set_workload("w-a*");
  *silence.mutable_ends() = ToTimestamp(bench_.now + hours(2));
  ASSERT_TRUE(bench_.silences().Add(silence, bench_.now).ok());
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Open("a2", bench_.now);
  bench_.Run(minutes(10));
  feed().Resolve("a2", bench_.now);
  bench_.Run(minutes(100));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"b"});
  EXPECT_EQ(pager().Count(Action::kDigest), 0u);
  bench_.Run(minutes(11));
  EXPECT_EQ(pager().OpenIds(), (std::set<std::string>{"a", "b"}));
}

TEST_F(StateCourierTest, ASilenceOverAPagedIncidentKeepsItQuietAndStillResolvesIt) {
  bench_.config().mutable_paging()->set_repeat_interval(std::chrono::nanoseconds(hours(1)).count());
  Begin();
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  bench_.Run(seconds(5));
  relay::v1::Silence silence;
  silence.set_author("ann");
  silence.set_reason("known");
  *silence.mutable_ends() = ToTimestamp(bench_.now + hours(48));
  ASSERT_TRUE(bench_.silences().Add(silence, bench_.now).ok());
  bench_.Run(minutes(10));
  feed().Update("a", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(hours(5));
  EXPECT_EQ(pager().said.size(), 1u) << "neither updates nor repeats";
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_TRUE(pager().open.empty());
}

TEST_F(StateCourierTest, ASilenceThatIsTakenBackPagesAtOnce) {
  Begin();
  relay::v1::Silence silence;
  silence.set_author("ann");
  silence.set_reason("mistake");
  *silence.mutable_ends() = ToTimestamp(bench_.now + hours(48));
  const auto added = bench_.silences().Add(silence, bench_.now);
  ASSERT_TRUE(added.ok());
  feed().Open("a", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_TRUE(pager().open.empty());
  ASSERT_TRUE(bench_.silences().Expire(added->id(), bench_.now).ok());
  bench_.Run(seconds(3));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
}

TEST_F(StateCourierTest, RepeatsWhatIsOpenAtTheIntervalUntilItIsAcknowledged) {
  bench_.config().mutable_paging()->set_repeat_interval(std::chrono::nanoseconds(hours(1)).count());
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(hours(5) + minutes(30));
  EXPECT_EQ(pager().Count(Action::kRepeat), 5u);
  feed().Add(v1::IncidentChange::ACKNOWLEDGED, "a", bench_.now);
  bench_.Run(hours(5));
  EXPECT_EQ(pager().Count(Action::kRepeat), 5u);
  EXPECT_EQ(pager().Count(Action::kAcknowledge), 1u);
  EXPECT_EQ(pager().Count(Action::kOpen), 1u);
}

TEST_F(StateCourierTest, ASinkThatForgetsIsToldAgainEvenWhileTheSourceIsAwayAndAfterARestart) {
  pager().capabilities = {.update = true, .repeat_open = seconds(60), .pages_per_request = 100};
  Begin();
  for (int i = 0; i < 10; ++i) feed().Open(fmt::format("i{}", i), bench_.now);
  bench_.Run(seconds(30));
  feed().up = false;
  bench_.Run(minutes(10));
  bench_.Restart();
  bench_.Run(minutes(10));
  std::map<std::string, WallTime> last;
  for (const auto& one : pager().said) {
    if (one.action == Action::kDigest) continue;
    if (const auto it = last.find(one.key); it != last.end()) {
      EXPECT_LE(one.at - it->second, seconds(65)) << one.key << ": Alertmanager has called it resolved";
    }
    last[one.key] = one.at;
  }
  ASSERT_EQ(last.size(), 10u);
  for (const auto& [key, at] : last) EXPECT_GE(at, bench_.now - seconds(65)) << key;
}

TEST_F(StateCourierTest, SaysNothingOfResolutionsWhereNobodyWantsThem) {
  bench_.config().mutable_paging()->set_send_resolved(false);
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(30));
  bench_.Restart();
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().said.size(), 1u);
  EXPECT_EQ(bench_.Status().open_there(), 0u);
}

TEST_F(StateCourierTest, ARotatedKeyEndsTheSuspensionAndNothingIsADeadLetter) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kUnauthorized; };
  for (int i = 0; i < 30; ++i) feed().Open(fmt::format("i{}", i), bench_.now);
  bench_.Run(hours(3));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
  EXPECT_LE(pager().asked, 185) << "a slow try";
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(2));
  EXPECT_EQ(pager().open.size(), 30u);
}

TEST_F(StateCourierTest, OneRefusedPageIsADeadLetterAndTheOthersGo) {
  Begin();
  pager().says = [](const Page& page, WallTime) { return page.finding.incident().id() == "bad" ? Says::kRefuses : Says::kTakes; };
  for (int i = 0; i < 5; ++i) feed().Open(fmt::format("i{}", i), bench_.now);
  feed().Open("bad", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(minutes(3));
  EXPECT_EQ(pager().open.size(), 5u);
  EXPECT_EQ(bench_.Status().dead_letters(), 1u);
  feed().Resolve("bad", bench_.now);
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().Count(Action::kResolve), 0u);
}

TEST_F(StateCourierTest, APagerThatRefusesEverythingIsSuspendedNotAGraveyard) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kRefuses; };
  for (int i = 0; i < 40; ++i) feed().Open(fmt::format("i{:02}", i), bench_.now);
  bench_.Run(hours(10));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_LE(bench_.Status().dead_letters(), 5u);
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(hours(1));
  EXPECT_GE(pager().open.size(), 35u);
}

TEST_F(StateCourierTest, ARefusedResolutionIsSentAgainWhenAsked) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  pager().says = [](const Page& page, WallTime) { return page.action == Action::kResolve ? Says::kRefuses : Says::kTakes; };
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(5));
  EXPECT_EQ(bench_.Status().dead_letters(), 1u);
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  const auto letters = bench_.ledger().DeadLetters("oncall", 10);
  ASSERT_TRUE(letters.ok());
  bench_.courier().Resend(*letters);
  bench_.courier().Resend(*letters);
  bench_.Run(minutes(5));
  EXPECT_TRUE(pager().open.empty()) << "whoever was paged is told of the end";
  EXPECT_EQ(pager().Count(Action::kResolve), 1u);
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 0u);
}

TEST_F(StateCourierTest, ARefusedPageIsSentAgainWhenAskedAndStillRefusedItStays) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kRefuses; };
  feed().Open("a", bench_.now);
  bench_.Run(minutes(5));
  ASSERT_EQ(bench_.Status().dead_letters(), 1u);
  bench_.courier().Resend(*bench_.ledger().DeadLetters("oncall", 10));
  bench_.Run(minutes(5));
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 1u);
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.courier().Resend(*bench_.ledger().DeadLetters("oncall", 10));
  bench_.Run(minutes(5));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 0u);
}

TEST_F(StateCourierTest, AClockSetBackByAnHourHoldsNothingUp) {
  bench_.config().mutable_paging()->set_max_pages_per_hour(5);
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kUnavailable; };
  feed().Open("a", bench_.now);
  bench_.Run(minutes(20));
  bench_.now -= hours(1);
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(6));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"a"});
  bench_.now -= hours(1);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(10));
  EXPECT_EQ(pager().OpenIds(), (std::set<std::string>{"a", "b"}));
}

TEST_F(StateCourierTest, AClockSetBackDoesNotStopRepeatsToASinkThatForgets) {
  pager().capabilities = {.update = true, .repeat_open = seconds(60), .pages_per_request = 100};
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(90));
  bench_.now -= hours(1);
  const size_t before = pager().Count(Action::kRepeat);
  bench_.Run(minutes(5));
  EXPECT_GE(pager().Count(Action::kRepeat), before + 4);
  bench_.now -= hours(1);
  bench_.Restart();
  bench_.Run(minutes(2));
  EXPECT_GE(pager().Count(Action::kRepeat), before + 5);
}

TEST_F(StateCourierTest, AClockSetForwardByADayAndBackHoldsNothingUp) {
  Begin();
  bench_.now += hours(24);
  feed().Open("a", bench_.now);
  bench_.Run(minutes(1));
  bench_.now -= hours(24);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(10));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(10));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"b"});
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

TEST_F(StateCourierTest, HostileNamesAreData) {
  feed().Wipe(std::string("feed\nwith \"odd\" letters ") + std::string(1 << 20, 'x'));
  bench_.Run(seconds(5));
  feed().Open(std::string(1 << 20, '\n'), bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) { incident->mutable_workload()->set_name(std::string(1 << 20, 'w')); });
  feed().Open(std::string(1 << 20, '\n') + "2", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().open.size(), 2u) << "two incidents, two pages";
  for (const auto& [key, one] : pager().open) {
    EXPECT_LE(key.size(), 128u);
    for (const char c : key) EXPECT_TRUE(c > 0x20 && c < 0x7f) << static_cast<int>(c);
  }
}

TEST_F(StateCourierTest, TimesOutOfAllReasonAreSurvived) {
  Begin();
  feed().Open("a", bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) {
    incident->mutable_onset_time()->set_seconds(INT64_MAX);
    incident->mutable_opened_time()->set_seconds(INT64_MIN);
    incident->mutable_updated_time()->set_seconds(INT64_MAX);
    incident->mutable_updated_time()->set_nanos(INT32_MIN);
  });
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(pager().said.size(), 2u);
}

TEST_F(StateCourierTest, AnIdleCourierWritesNothingAndSleeps) {
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(minutes(10));
  const auto size = std::filesystem::file_size(bench_.database() + "-wal");
  const uint64_t wakes = bench_.wakes;
  for (int i = 0; i < 720; ++i) {  // heartbeats
    FeedEvent event;
    event.kind = FeedEvent::Kind::kCaughtUp;
    event.feed_id = feed().id();
    event.sequence = feed().last();
    bench_.courier().Take(std::move(event), bench_.now);
    bench_.Run(seconds(5));
  }
  EXPECT_EQ(std::filesystem::file_size(bench_.database() + "-wal"), size);
  EXPECT_LE(bench_.wakes - wakes, 1500u);
}

// A look that walks everything, and a search of each through all others, took minutes here.
TEST_F(StateCourierTest, FiftyThousandOpenIncidentsCostLittleTimeAndMemory) {
  pager().capabilities = {.update = true, .digest = true, .pages_per_request = 500};
  bench_.config().mutable_paging()->set_max_pages_per_hour(100'000);
  Begin();
  for (int i = 0; i < 50'000; ++i) {
    feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::MINOR, [&](v1::Incident* incident) {
      if (i % 2 == 1) incident->add_related_incident_ids(fmt::format("i{}", i - 1));
    });
  }
  const auto cpu = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double begun = cpu();
  bench_.Run(minutes(1));
  RecordProperty("seconds_to_page", std::to_string(cpu() - begun));
  std::printf("to page 50,000: %.2f s of CPU\n", cpu() - begun);
  EXPECT_EQ(pager().open.size(), 25'000u);
  begun = cpu();
  for (int i = 0; i < 200; ++i) {
    feed().Update(fmt::format("i{}", i * 2), bench_.now, v1::Incident::CRITICAL);
    bench_.Run(seconds(2));
  }
  const double each = (cpu() - begun) / 200;
  std::printf("one change among 50,000: %.2f ms of CPU\n", each * 1e3);
  EXPECT_LT(each, 0.02);
}

TEST_F(StateCourierTest, MoreOpenIncidentsThanItHoldsDoNotStopIt) {
  bench_.config().mutable_route()->set_min_severity("critical");
  Begin();
  for (int i = 0; i < 60'000; ++i) feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::WARNING);
  feed().Open("late", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(minutes(1));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"late"}) << "it stopped reading, and nothing can ever make room";
  feed().Resolve("late", bench_.now);
  bench_.Run(minutes(1));
  EXPECT_TRUE(pager().open.empty());
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

TEST_F(StateCourierTest, WhereItWasReadToIsKeptWhileTheSinkIsDown) {
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  feed().Open("a", bench_.now);
  bench_.Run(seconds(30));
  bench_.Crash();
  feed().Open("b", bench_.now);
  feed().Resolve("b", bench_.now += minutes(1));
  bench_.Start();
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().Count(Action::kDigest), 1u) << "what opened and resolved while the relay was away, before the sink had ever answered, is told";
}

TEST_F(StateCourierTest, TheDigestKeepsItsKeyOverACrash) {
  Begin();
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  feed().Open("a", bench_.now);
  bench_.Run(minutes(1));
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(1));
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.now += minutes(10);
  ASSERT_TRUE(bench_.Send(false));
  bench_.Restart();
  bench_.Run(minutes(10));
  ASSERT_EQ(pager().Count(Action::kDigest), 2u);
  EXPECT_EQ(pager().said[0].page_key, pager().said[1].page_key);
}

}  // namespace
}  // namespace outlier
