// What a state courier tells a pager of what opens, changes, lasts and ends, at any hour and in any number.
#include <filesystem>
#include <map>
#include <set>

#include "tests/courier/state_courier_fixture.h"

namespace outlier {
namespace {

using Action = Page::Action;

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

TEST_F(StateCourierTest, AResolutionGoesOnBeingSaidForAWhileWhereTheSinkWantsThat) {
  pager().capabilities.repeat_open = seconds(60);
  pager().capabilities.repeat_resolved = minutes(15);
  Begin();
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  ASSERT_EQ(pager().Count(Action::kResolve), 1u);
  const uint64_t delivered = bench_.Status().delivered();
  pager().says = [&](const Page&, WallTime) { return Says::kUnavailable; };
  bench_.Run(minutes(5));
  pager().says = [&](const Page&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(9));
  EXPECT_GE(pager().Count(Action::kRepeat, "a"), 5u) << "an outage does not end it";
  EXPECT_LE(pager().Count(Action::kRepeat, "a"), 10u);
  bench_.Run(minutes(1));
  const size_t said = pager().said.size();
  bench_.Run(hours(1));
  EXPECT_EQ(pager().said.size(), said);
  EXPECT_EQ(pager().Count(Action::kResolve), 1u);
  EXPECT_EQ(bench_.Status().delivered(), delivered) << "nothing new was told";
  pager().capabilities.repeat_resolved = seconds(0);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  feed().Resolve("b", bench_.now);
  bench_.Run(hours(1));
  EXPECT_EQ(pager().Count(Action::kRepeat, "b"), 0u);
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

}  // namespace
}  // namespace outlier
