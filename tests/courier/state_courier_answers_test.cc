// What a pager answers, and what becomes of the page.
#include <algorithm>
#include <set>
#include <utility>

#include "tests/courier/state_courier_fixture.h"

namespace outlier {
namespace {

using Action = Page::Action;

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

// Two servers, of which one takes pages and the other does as the case says.
class PeersTest : public StateCourierTest, public testing::WithParamInterface<std::pair<size_t, Says>> {
 protected:
  void SetUp() override {
    pager().peers = 2;
    pager().capabilities.repeat_open = seconds(60);
    pager().capabilities.pages_per_request = 64;
    pager().peer_says = [this](size_t peer, const Page&, WallTime) { return peer == bad() ? GetParam().second : Says::kTakes; };
  }
  size_t bad() const { return GetParam().first; }
  size_t Told(size_t peer, Action action) {
    return static_cast<size_t>(std::count_if(pager().said.begin(), pager().said.end(), [&](const auto& one) { return one.peer == peer && one.action == action; }));
  }
};

TEST_P(PeersTest, OneThatFailsTakesNothingFromTheOtherAndIsTold) {
  Begin();
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_EQ(Told(1 - bad(), Action::kOpen), 2u);
  EXPECT_GE(Told(1 - bad(), Action::kRepeat), 18u) << "it ends there by itself where it is not repeated";
  EXPECT_EQ(static_cast<size_t>(pager().asked), 2 * pager().sent.size()) << "each gets each post";
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
  EXPECT_EQ(bench_.Status().open_there(), 2u);
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::DELIVERING);
  const std::string message = bench_.Status().message();
  EXPECT_NE(message.find(fmt::format("am-{}", bad())), std::string::npos) << message;
  EXPECT_EQ(message.find(fmt::format("am-{}", 1 - bad())), std::string::npos) << message;
  EXPECT_NE(message.find(Describe(Answer(GetParam().second))), std::string::npos) << message;
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(30));
  EXPECT_EQ(Told(1 - bad(), Action::kResolve), 1u);
  pager().peer_says = [](size_t, const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(2));
  EXPECT_EQ(bench_.Status().message(), "") << "it works again";
  EXPECT_GE(Told(bad(), Action::kRepeat), 1u);
}

INSTANTIATE_TEST_SUITE_P(Each, PeersTest,
                         testing::Values(std::pair{0u, Says::kRefuses}, std::pair{1u, Says::kRefuses}, std::pair{0u, Says::kNoConnection}, std::pair{1u, Says::kNoConnection},
                                         std::pair{0u, Says::kUnauthorized}, std::pair{1u, Says::kUnauthorized}, std::pair{0u, Says::kTooLarge}, std::pair{1u, Says::kTooLarge}));

TEST_F(StateCourierTest, OnlyWhatEachPeerRefusesIsADeadLetter) {
  pager().peers = 2;
  pager().peer_says = [](size_t peer, const Page& page, WallTime) {
    const std::string& id = page.finding.incident().id();
    return id == "bad" || (id == "half" && peer == 0) ? Says::kRefuses : id == "half" ? Says::kUnavailable : Says::kTakes;
  };
  Begin();
  feed().Open("bad", bench_.now);
  bench_.Run(minutes(1));
  EXPECT_EQ(bench_.Status().dead_letters(), 1u);
  feed().Open("half", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_EQ(bench_.Status().dead_letters(), 1u) << "the second may still take it";
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::BACKING_OFF);
  for (const char* peer : {"am-0", "am-1"}) EXPECT_NE(bench_.Status().message().find(peer), std::string::npos) << bench_.Status().message();
  pager().peer_says = [](size_t peer, const Page&, WallTime) { return peer == 0 ? Says::kRefuses : Says::kTakes; };
  bench_.Run(minutes(10));
  EXPECT_EQ(pager().OpenIds(), std::set<std::string>{"half"});
}

TEST_F(StateCourierTest, APagerThatIsDownIsBehindByTheAgeOfWhatItShouldHaveBeenTold) {
  Begin();
  Silence("w-silenced", hours(48));
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  feed().Open("silenced", bench_.now);
  bench_.Run(minutes(5));
  EXPECT_EQ(Lag(), seconds(0)) << "nobody should have been told of it";
  feed().Open("a", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_EQ(Lag(), minutes(10));
  bench_.Restart();
  bench_.Run(minutes(1));
  EXPECT_EQ(Lag(), minutes(11)) << "by a restart it has not become younger";
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_EQ(Lag(), minutes(10)) << "a digest has to tell of it";
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(10));
  EXPECT_EQ(Lag(), seconds(0));
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  pager().says = [](const Page&, WallTime) { return Says::kUnauthorized; };
  feed().Resolve("b", bench_.now);
  bench_.Run(minutes(20));
  EXPECT_EQ(Lag(), minutes(20));
  pager().says = [](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(2));
  EXPECT_EQ(Lag(), seconds(0));
}

TEST_F(StateCourierTest, WhatASinkThatForgetsIsNotToldAgainIsBehindToo) {
  pager().capabilities.repeat_open = seconds(60);
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(minutes(30));
  EXPECT_EQ(Lag(), seconds(0));
  pager().says = [](const Page&, WallTime) { return Says::kNoConnection; };
  bench_.Run(minutes(10));
  EXPECT_GE(Lag(), minutes(8));
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

}  // namespace
}  // namespace outlier
