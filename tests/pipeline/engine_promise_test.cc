// What the engine tells and what it keeps to itself: feedback, budgets, accepted levels, replicas, the host as a whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "tests/pipeline/engine_session.h"

namespace outlier {
namespace {

// Burns a core twice, with a person's word on the first incident in between; returns how often service-0 was told of.
int OpenedAround(std::optional<Command::Kind> word) {
  const auto engine = MakeEngine();
  SimulatedHost host(3);
  int opened = 0;
  std::string id;
  const auto run = [&](double cores, int ticks) {
    host.at(0).cores = cores;
    for (int i = 0; i < ticks; ++i) {
      const TickInput input = host.Tick();
      for (const v1::IncidentChange& change : Changes(engine.get(), std::span(&input, 1))) {
        if (change.kind() != v1::IncidentChange::OPENED) continue;
        ++opened;
        id = change.incident().id();
      }
    }
  };
  run(0.02, 60);
  run(1.0, 20);
  if (word) {
    Command command;
    command.kind = *word;
    command.incident_id = id;
    host.Send(command);
  }
  run(0.02, 60);
  run(1.0, 20);
  return opened;
}

TEST(Engine, TellsOfItsLikeAgainButNotAfterAFalseAlarm) {
  EXPECT_EQ(OpenedAround(std::nullopt), 2);
  EXPECT_EQ(OpenedAround(Command::Kind::kUseful), 2);
  EXPECT_EQ(OpenedAround(Command::Kind::kFalseAlarm), 1);
}

TEST(Engine, ALevelThatStaysIsAcceptedAndTheIncidentSaysSo) {
  const Session session = Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 2400, [](SimulatedHost&) {}, 0);
  v1::Incident last;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    if (change.kind() == v1::IncidentChange::RESOLVED) last = change.incident();
  }
  ASSERT_EQ(last.state(), v1::Incident::RESOLVED);
  EXPECT_THAT(last.changes().rbegin()->detail(), testing::HasSubstr("is normal from now on"));
}

TEST(Engine, ASmallerBudgetTellsASubsetAndEveryIncidentSaysHowRareItsLikeIs) {
  // Three bursts of growing strength in a service that has a habit of small ones.
  SimulatedHost host(6);
  std::vector<TickInput> inputs;
  for (int i = 0; i < 60; ++i) inputs.push_back(host.Tick());
  for (int round = 0; round < 12; ++round) {
    host.at(round % 3).cores = 0.1 + 0.08 * round;
    host.at(round % 3).run_delay = 0.05 * round;
    for (int i = 0; i < 25; ++i) inputs.push_back(host.Tick());
    host.at(round % 3).cores = 0.02;
    host.at(round % 3).run_delay = 0.005;
    for (int i = 0; i < 60; ++i) inputs.push_back(host.Tick());
  }
  std::map<double, std::set<std::string>> told;  // by budget: workload and minute of the onset
  for (const double budget : {0.01, 1.0, 50.0}) {
    config::v1::Config config = ShortWarmUp();
    config.mutable_budgets()->set_false_alarms_per_week(budget);
    for (const v1::IncidentChange& change : Changes(MakeEngine(config).get(), inputs)) {
      if (change.kind() != v1::IncidentChange::OPENED) continue;
      const v1::Incident& incident = change.incident();
      EXPECT_LE(incident.recurrences_per_week(), budget);
      EXPECT_EQ(incident.promised_per_week(), budget);
      told[budget].insert(fmt::format("{} {}", incident.workload().name(), incident.onset_time().seconds() / 85));
    }
  }
  EXPECT_FALSE(told[50.0].empty());
  EXPECT_TRUE(std::includes(told[1.0].begin(), told[1.0].end(), told[0.01].begin(), told[0.01].end()));
  EXPECT_TRUE(std::includes(told[50.0].begin(), told[50.0].end(), told[1.0].begin(), told[1.0].end()));
}

TEST(Engine, WhatHitsManyServicesAtOnceIsOneIncidentOfTheHostThatResolves) {
  const auto all = [](SimulatedHost& h, double cores) {
    for (int i = 0; i < 12; ++i) h.at(i).cores = cores;
  };
  const Session session = Record([&](SimulatedHost& h, int) { all(h, 1.0); }, 30, [&](SimulatedHost& h) { all(h, 0.02); }, 700, 12);
  std::vector<v1::IncidentChange> opened, resolved;
  for (v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    if (change.kind() == v1::IncidentChange::OPENED) opened.push_back(change);
    if (change.kind() == v1::IncidentChange::RESOLVED) resolved.push_back(change);
  }
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].incident().workload().kind(), v1::Workload::HOST);
  EXPECT_EQ(opened[0].incident().contributions(0).signal(), "host.workloads.departing");
  EXPECT_GE(opened[0].incident().contributions(0).observed(), 4);
  EXPECT_THAT(opened[0].incident().changes(0).detail(), testing::MatchesRegex("departing: (service-[0-9]+, )+service-[0-9]+.*"));
  EXPECT_EQ(resolved.size(), 1u);
}

// On a host a few minutes old each does so for the first time.
TEST(Engine, ServicesThatWorkOneAfterTheOtherAreNoIncidentOfTheHost) {
  constexpr int kServices = 40;
  SimulatedHost host(kServices);
  const auto engine = MakeEngine();
  std::set<std::string> told;
  const auto run = [&](int ticks) {
    for (int i = 0; i < ticks; ++i) {
      for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) told.insert(change.incident().workload().name());
    }
  };
  run(60);
  for (int service = 0; service < kServices; ++service) {
    host.at(service).cores = 0.1 + 0.02 * service;
    run(12);
    host.at(service).cores = 0.02;
    run(3);
  }
  EXPECT_FALSE(told.contains("host")) << testing::PrintToString(told);
}

TEST(Engine, AHostIncidentEndsAfterAReboot) {
  SimulatedHost host(3);
  std::vector<TickInput> inputs;
  for (int i = 0; i < 60; ++i) inputs.push_back(host.Tick());
  TickInput late = host.Tick();
  late.interval_ns = 300 * kSecondNs;  // suspended
  inputs.push_back(late);
  for (int i = 0; i < 800; ++i) {
    inputs.push_back(host.Tick());
    inputs.back().boot_time_ns -= 4900 * kSecondNs;  // booted again, with a young clock
    if (i == 0) inputs.back().interval_ns = 0;
  }
  int opened = 0, resolved = 0;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), inputs)) {
    if (change.incident().workload().kind() != v1::Workload::HOST) continue;
    opened += change.kind() == v1::IncidentChange::OPENED;
    resolved += change.kind() == v1::IncidentChange::RESOLVED;
  }
  EXPECT_EQ(opened, 1);
  EXPECT_EQ(resolved, 1);
}

// Services of a host a few minutes old wait for the core that one of them burns; then another takes the core of one that waited.
TEST(Engine, WhoWaitsForAThiefIsToldThoughServicesWaitedForAnotherJustBefore) {
  constexpr int kBurner = 0, kVictim = 1, kThief = 4, kServices = 6;
  SimulatedHost host(kServices);
  const auto engine = MakeEngine();
  const auto run = [&](int ticks) {
    std::set<std::string> told;
    for (int i = 0; i < ticks; ++i) {
      for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
        if (change.kind() == v1::IncidentChange::OPENED) told.insert(change.incident().workload().name());
      }
    }
    return told;
  };
  host.at(kVictim).cores = 0.4;
  run(150);
  host.at(kBurner).cores = 1.0;
  for (const int waits : {1, 2, 3}) host.at(waits).run_delay = 0.2;
  EXPECT_TRUE(run(20).contains("service-0"));
  host.at(kBurner).cores = 0.02;
  for (const int waits : {1, 2, 3}) host.at(waits).run_delay = 0.005;
  run(30);
  host.at(kThief).cores = 1.0;
  host.at(kVictim).run_delay = host.at(kVictim).cores = 0.2;
  EXPECT_TRUE(run(15).contains("service-1"));
}

// It waited nearly as long when everything started, and a little all the time: by its own past it has not departed.
TEST(Engine, AVictimOfOneThatIsToldIsToldThoughItWaitsLittleMoreThanItEverDid) {
  constexpr int kVictim = 0, kThief = 2;
  SimulatedHost host(3);
  const auto engine = MakeEngine();
  std::map<std::string, v1::Incident> told;
  const auto run = [&](int ticks) {
    for (int i = 0; i < ticks; ++i) {
      for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
        told[change.incident().workload().name()] = change.incident();
      }
    }
  };
  host.at(kVictim).contended = false;
  host.at(kVictim).cores = 0.35;
  host.at(kVictim).run_delay = 0.16;
  run(30);
  host.at(kVictim).run_delay = 0.02;
  run(120);
  host.at(kVictim).run_delay = 0.09;
  run(40);
  host.at(kVictim).run_delay = host.at(kVictim).cores = 0.2;
  run(15);
  EXPECT_FALSE(told.contains("service-0")) << "nobody is seen to take anything";
  host.at(kVictim).run_delay = 0.09;
  host.at(kVictim).cores = 0.35;
  run(60);
  host.at(kThief).cores = 0.8;
  host.at(kVictim).run_delay = host.at(kVictim).cores = 0.2;
  run(15);
  ASSERT_TRUE(told.contains("service-2"));
  ASSERT_TRUE(told.contains("service-0"));
  const v1::Incident& victim = told.at("service-0");
  EXPECT_EQ(victim.contributions(0).signal(), "process.cpu.run_delay");
  EXPECT_EQ(victim.suspects(0).workload().name(), "service-2");
  EXPECT_GE(victim.recurrences_per_week(), told.at("service-2").recurrences_per_week()) << "no budget tells it without its cause";
  EXPECT_LE(victim.recurrences_per_week(), 1);
  run(30);
  EXPECT_EQ(told.at("service-0").state(), v1::Incident::OPEN) << "it waits still";
  host.at(kThief).cores = 0.02;
  host.at(kVictim).run_delay = 0.09;
  host.at(kVictim).cores = 0.35;
  run(30);
  EXPECT_EQ(told.at("service-0").state(), v1::Incident::RESOLVED);
}

// A second replica of a service that has run for a quarter of an hour. What is told of it in `seconds` after its start.
std::vector<v1::IncidentChange> OfANewReplica(int seconds, bool faulty) {
  SimulatedHost host(2);
  host.Add("web", "web@1.service");
  const auto engine = MakeEngine();
  for (int i = 0; i < 900; ++i) engine->Step(std::vector{host.Tick()});
  host.Add("web", "web@2.service");
  std::vector<v1::IncidentChange> told;
  for (int i = 0; i < seconds; ++i) {
    if (faulty && i == 30) host.at(3).cores = 1.0;
    for (v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) told.push_back(std::move(change));
  }
  return told;
}

TEST(Engine, AFaultyReplicaOfAKnownServiceIsFoundInItsFirstMinute) {
  const std::vector<v1::IncidentChange> told = OfANewReplica(60, true);
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].kind(), v1::IncidentChange::OPENED);
  EXPECT_EQ(told[0].incident().workload().name(), "web@2.service");
  EXPECT_EQ(told[0].incident().contributions(0).signal(), "process.cpu.utilization");
}

TEST(Engine, AHealthyReplicaOfAKnownServiceRaisesNothing) { EXPECT_THAT(OfANewReplica(300, false), testing::IsEmpty()); }

}  // namespace
}  // namespace outlier
