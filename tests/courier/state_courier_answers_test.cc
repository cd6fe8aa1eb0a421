// What a pager answers, and what becomes of the page.
#include <set>

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
