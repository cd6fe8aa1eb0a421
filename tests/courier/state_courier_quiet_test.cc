// Pages that are held back: caps, flapping, related incidents, silences; and that somebody hears of it.
#include <algorithm>
#include <set>

#include "tests/courier/state_courier_fixture.h"

namespace outlier {
namespace {

using Action = Page::Action;

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
  EXPECT_EQ(Lag(), seconds(0)) << "it was told all that it should be";
  bench_.Run(minutes(45));
  EXPECT_EQ(pager().Count(Action::kOpen), 10u) << "the next hour's";
}

TEST_F(StateCourierTest, ADigestOfWhatIsOpenWithoutAPageIsAsLoudAsTheWorstOfIt) {
  bench_.config().mutable_paging()->set_max_pages_per_hour(1);
  Begin();
  feed().Open("paged", bench_.now, v1::Incident::CRITICAL);
  bench_.Run(seconds(5));
  for (int i = 0; i < 25; ++i) feed().Open(fmt::format("i{:02}", i), bench_.now, i == 24 ? v1::Incident::MAJOR : v1::Incident::MINOR);
  bench_.Run(seconds(5));
  const PagerServer::Said& loud = pager().said.back();
  ASSERT_EQ(loud.action, Action::kDigest);
  EXPECT_FALSE(loud.quiet) << "25 are open, and nobody is woken";
  EXPECT_EQ(loud.severity, v1::Incident::MAJOR);
  EXPECT_NE(loud.text.find("i24 is MAJOR"), std::string::npos) << "the worst is among those that are named: " << loud.text;
  // One that opens and resolves beside them is told with what is open; alone, when all that is open has been told, it wakes nobody.
  pager().said.clear();
  feed().Open("short", bench_.now, v1::Incident::MINOR);
  bench_.Run(minutes(1));
  feed().Resolve("short", bench_.now);
  bench_.Run(minutes(20));
  ASSERT_EQ(pager().Count(Action::kDigest), 1u);
  EXPECT_TRUE(pager().said.back().quiet);
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
  EXPECT_EQ(Lag(), seconds(0));
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

TEST_F(StateCourierTest, ARelatedIncidentOfASilencedOneHasItsOwnPage) {
  const auto of_lead = [](v1::Incident* incident) { incident->add_related_incident_ids("lead"); };
  Begin();
  feed().Open("lead", bench_.now, v1::Incident::CRITICAL);
  feed().Open("before", bench_.now, v1::Incident::MAJOR, of_lead);
  bench_.Run(seconds(5));
  ASSERT_EQ(pager().OpenIds(), std::set<std::string>{"lead"});
  Silence("w-lead", hours(1));
  feed().Open("after", bench_.now, v1::Incident::MAJOR, of_lead);
  bench_.Run(minutes(30));
  EXPECT_EQ(pager().OpenIds(), (std::set<std::string>{"after", "before", "lead"})) << "the page of the lead is told nothing meanwhile";
  bench_.Run(hours(1));
  EXPECT_EQ(pager().Count(Action::kOpen), 3u);
  for (const char* id : {"after", "before", "lead"}) feed().Resolve(id, bench_.now);
  bench_.Run(minutes(30));
  EXPECT_TRUE(pager().open.empty());
  EXPECT_EQ(pager().Count(Action::kDigest), 0u);
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
