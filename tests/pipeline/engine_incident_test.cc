// What an incident says of itself while it lasts, and what a person's word does to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/pipeline/engine_session.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

double Seconds(const google::protobuf::Timestamp& time) { return static_cast<double>(time.seconds()) + time.nanos() * 1e-9; }

TEST(Incident, TheOnsetStaysWhereItWasHoweverLongItLasts) {
  const Session session = Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 2400, [](SimulatedHost&) {}, 0);
  const double fault = 1.8e9 + static_cast<double>(session.fault_ns) * 1e-9;
  v1::Incident last;
  int told = 0;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    ++told;
    last = change.incident();
    EXPECT_NEAR(Seconds(last.onset_time()), fault, 3) << change.ShortDebugString();
  }
  EXPECT_GT(told, 3) << "it is told again each minute";
  ASSERT_EQ(last.state(), v1::Incident::RESOLVED);
  const double lasted = Seconds(last.resolved_time()) - Seconds(last.onset_time());
  EXPECT_GT(lasted, 90);
  EXPECT_EQ(last.changes().rbegin()->detail(), fmt::format("its new level has lasted {} and is normal from now on", HumanDuration(lasted)));
}

// Two failures in three seconds, where there were none for a day's end of the slow clocks: none of the seconds has many.
TEST(Incident, WhatTheSlowClocksFoundIsToldByTheirMinuteAndBeganBeforeThem) {
  const auto engine = MakeEngine();
  SimulatedHost host(3);
  for (int t = 0; t < 90'000; ++t) engine->Step(std::vector{host.Tick()});
  std::vector<v1::Incident> told;
  const double fault = 1.8e9 + static_cast<double>(host.now_ns()) * 1e-9;
  for (int t = 0; t < 900 && told.empty(); ++t) {
    host.at(0).errors = t % 3 == 0 ? 0 : 1;
    for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) told.push_back(change.incident());
  }
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].contributions(0).signal(), "process.syscall.errors");
  EXPECT_NEAR(told[0].contributions(0).observed(), 0.67, 0.1);
  EXPECT_NEAR(Seconds(told[0].onset_time()), fault, 90);
}

// Ticks that were missed come as one; a host that slept has one of hours.
TEST(Incident, ALongTickMovesTheOnsetNoMoreThanItself) {
  for (const uint64_t slept : {uint64_t{3}, uint64_t{3600}}) {
    SimulatedHost host(3);
    const auto engine = MakeEngine();
    for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
    const double fault = 1.8e9 + static_cast<double>(host.now_ns()) * 1e-9;
    host.at(0).cores = 1.0;
    int told = 0;
    for (int i = 0; i < 50; ++i) {
      if (i == 30) host.Suspend(slept);
      for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
        if (change.incident().workload().name() != "service-0") continue;
        ++told;
        EXPECT_NEAR(Seconds(change.incident().onset_time()), fault, 3) << slept << " " << change.ShortDebugString();
      }
    }
    EXPECT_GT(told, 0);
  }
}

TEST(Incident, WhatNobodyWatchedIsSaidWhenItIsResolved) {
  SimulatedHost host(3);
  const auto engine = MakeEngine();
  for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
  host.at(0).cores = 1.0;
  for (int i = 0; i < 20; ++i) engine->Step(std::vector{host.Tick()});
  host.at(0).cores = 0.02;
  host.Suspend(3600);
  double share = 1;
  for (int i = 0; i < 60; ++i) {
    for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
      if (change.incident().workload().name() == "service-0" && change.kind() == v1::IncidentChange::RESOLVED) share = change.incident().coverage().sampled_share();
    }
  }
  EXPECT_LT(share, 0.05);
}

TEST(Incident, AFalseAlarmOfManyTogetherSilencesThemAndNotTheHostAlone) {
  const auto told = [](bool word) {
    SimulatedHost host(12);
    const auto engine = MakeEngine();
    std::string id;
    const auto run = [&](double cores, int ticks) {
      std::set<std::string> names;
      for (int i = 0; i < 8; ++i) host.at(i).cores = cores;
      for (int i = 0; i < ticks; ++i) {
        for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
          if (change.kind() == v1::IncidentChange::OPENED) names.insert(change.incident().workload().name());
          id = change.incident().id();
        }
      }
      return names;
    };
    run(0.02, 60);
    EXPECT_EQ(run(1.0, 30).size(), 1u);
    if (word) {
      Command command;
      command.kind = Command::Kind::kFalseAlarm;
      command.incident_id = id;
      host.Send(command);
    }
    run(0.02, 1500);
    return run(1.0, 30).size();
  };
  EXPECT_EQ(told(false), 1u);
  EXPECT_EQ(told(true), 0u);
}

TEST(Incident, AWordInTheTickThatResolvesItDoesNotOpenItAgain) {
  const Session session = Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 30, [](SimulatedHost& h) { h.at(0).cores = 0.02; });
  std::string id;
  v1::Incident open;
  size_t resolved_at = 0;
  const auto first = MakeEngine();
  for (size_t i = 0; i < session.inputs.size(); ++i) {
    for (const v1::IncidentChange& change : Changes(first.get(), std::span(&session.inputs[i], 1))) {
      if (change.kind() == v1::IncidentChange::RESOLVED) resolved_at = i;
      if (change.incident().state() == v1::Incident::OPEN) open = change.incident();
    }
  }
  ASSERT_GT(resolved_at, 0u);
  for (const auto kind : {Command::Kind::kAcknowledge, Command::Kind::kFalseAlarm, Command::Kind::kUseful}) {
    std::vector<TickInput> inputs(session.inputs.begin(), session.inputs.begin() + static_cast<std::ptrdiff_t>(resolved_at) + 1);
    Command command;
    command.kind = kind;
    command.incident_id = open.id();
    command.incident = open.SerializeAsString();  // as the feed had it a moment before
    inputs.back().commands.push_back(command);
    const auto changes = Changes(MakeEngine().get(), inputs);
    ASSERT_GE(changes.size(), 2u);
    EXPECT_EQ(changes[changes.size() - 2].kind(), v1::IncidentChange::RESOLVED);
    EXPECT_EQ(changes.back().incident().state(), v1::Incident::RESOLVED) << changes.back().ShortDebugString();
    EXPECT_TRUE(changes.back().incident().has_resolved_time());
  }
}

// More kinds of signal than lead an incident.
TEST(Incident, AFalseAlarmMakesTheLikeRarerHoweverManySignalsItHas) {
  const auto opened = [](bool word) {
    const auto engine = MakeEngine();
    SimulatedHost host(3);
    int opened = 0;
    std::string id;
    const auto run = [&](bool departs, int ticks) {
      host.at(0).cores = departs ? 1.0 : 0.02;
      host.at(0).run_delay = departs ? 0.3 : 0.005;
      host.at(0).work = departs ? 200 : 10;
      host.at(0).errors = departs ? 100 : 0;
      host.at(0).started = departs ? 30 : 0;
      for (int i = 0; i < ticks; ++i) {
        for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
          opened += change.kind() == v1::IncidentChange::OPENED && change.incident().workload().name() == "service-0";
          if (change.incident().workload().name() == "service-0") id = change.incident().id();
        }
      }
    };
    run(false, 60);
    run(true, 20);
    if (word) {
      Command command;
      command.kind = Command::Kind::kFalseAlarm;
      command.incident_id = id;
      host.Send(command);
    }
    run(false, 60);
    run(true, 20);
    return opened;
  };
  EXPECT_EQ(opened(false), 2);
  EXPECT_EQ(opened(true), 1);
}

// A service that burns a core, is away for more than a day, so that its place is given to others, and does it again.
TEST(Incident, AFalseAlarmIsRememberedOfAWorkloadThatWasAwayForADay) {
  const auto told_again = [](bool word) {
    const auto engine = MakeEngine();
    SimulatedHost host(2);
    host.Add("job", "job.service");
    int opened = 0;
    std::string id;
    const auto run = [&](int ticks) {
      for (int i = 0; i < ticks; ++i) {
        for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
          opened += change.kind() == v1::IncidentChange::OPENED && change.incident().workload().name() == "job.service" ? 1 : 0;
          id = change.incident().id();
        }
      }
    };
    run(60);
    host.at(2).cores = 1.0;
    run(20);
    EXPECT_EQ(opened, 1);
    Command command;
    command.kind = Command::Kind::kFalseAlarm;
    command.incident_id = id;
    if (word) host.Send(command);
    host.at(2).cores = 0.02;
    run(60);
    host.End(host.at(2), 0);
    run(86'500);
    host.Add("newcomer", "newcomer.service");
    run(60);
    host.Start(host.at(2));
    std::swap(host.at(2).account, host.at(3).account);  // of its place, and of the next
    run(90);
    host.at(2).cores = 1.0;
    opened = 0;
    run(20);
    return opened;
  };
  EXPECT_EQ(told_again(false), 1);
  EXPECT_EQ(told_again(true), 0);
}

TEST(Incident, ASuspendedHostWasNotObservedAndNobodyIsSuspectedOfIt) {
  SimulatedHost host(3);
  const auto engine = MakeEngine();
  for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
  host.at(0).cores = 0.9;
  engine->Step(std::vector{host.Tick()});
  host.Suspend(300);
  const auto changes = Changes(engine.get(), std::vector{host.Tick()});
  ASSERT_EQ(changes.size(), 1u);
  const v1::Incident& incident = changes[0].incident();
  EXPECT_EQ(incident.contributions(0).signal(), "host.tick.interval");
  EXPECT_LT(incident.coverage().sampled_share(), 0.05);
  EXPECT_NEAR(Seconds(incident.opened_time()) - Seconds(incident.onset_time()), 300, 2);
  EXPECT_EQ(incident.suspects_size(), 0);
}

TEST(Incident, WhatHitsManyWhileTheHostHasAnIncidentIsToldInThat) {
  SimulatedHost host(12);
  const auto engine = MakeEngine();
  for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
  host.Suspend(300);
  for (int i = 0; i < 200; ++i) engine->Step(std::vector{host.Tick()});
  for (int i = 0; i < 8; ++i) host.at(i).cores = 1.0;
  std::string news;
  std::set<std::string> told;
  for (int i = 0; i < 40; ++i) {
    for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) {
      told.insert(change.incident().workload().name());
      const std::string detail = change.incident().changes().rbegin()->detail();
      if (change.incident().workload().kind() == v1::Workload::HOST && detail.starts_with("departing: ")) news = detail;
    }
  }
  EXPECT_THAT(news, testing::HasSubstr("service-3"));
  EXPECT_EQ(told.size(), 1u) << "of the host alone";
}

TEST(Incident, OfAServiceThatStillLearnsNothingIsToldThoughItWaitsForOneThatIsTold) {
  const auto told = [](int learned) {
    SimulatedHost host(3);
    const auto engine = MakeEngine();
    for (int i = 0; i < 150; ++i) engine->Step(std::vector{host.Tick()});
    SimulatedHost::Service& late = host.Add("late", "late.service");
    late.contended = false;
    late.cores = 0.35;
    late.run_delay = 0.09;
    for (int i = 0; i < learned; ++i) engine->Step(std::vector{host.Tick()});
    host.at(2).cores = 0.8;
    host.at(3).run_delay = host.at(3).cores = 0.2;
    std::set<std::string> names;
    for (int i = 0; i < 20; ++i) {
      for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) names.insert(change.incident().workload().name());
    }
    return names;
  };
  EXPECT_THAT(told(20), testing::UnorderedElementsAre("service-2"));
  EXPECT_THAT(told(60), testing::UnorderedElementsAre("service-2", "late.service"));
}

TEST(Incident, AfterAReloadWithAnotherTickEachWorkloadsNormalIsLearnedAgain) {
  const auto learns = [](int64_t tick_seconds) {
    const auto engine = MakeEngine();
    SimulatedHost host(1);
    const auto reload = [&](int64_t seconds) {
      config::v1::Config config = ShortWarmUp();
      config.set_tick(seconds * static_cast<int64_t>(kSecondNs));
      Command command;
      command.kind = Command::Kind::kReload;
      command.config = config.SerializeAsString();
      host.Send(command);
    };
    reload(1);
    for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
    reload(tick_seconds);
    for (int i = 0; i < 2; ++i) engine->Step(std::vector{host.Tick()});
    const auto workloads = engine->Workloads(false);
    return std::any_of(workloads.begin(), workloads.end(), [](const v1::WorkloadState& w) { return w.warming_up(); });
  };
  EXPECT_FALSE(learns(1));
  EXPECT_TRUE(learns(2));
}

TEST(Incident, AnotherTickIsNoSuspendedHost) {
  const auto engine = MakeEngine();
  SimulatedHost host(1);
  const auto reload = [&](int64_t seconds) {
    config::v1::Config config = ShortWarmUp();
    config.set_tick(seconds * static_cast<int64_t>(kSecondNs));
    Command command;
    command.kind = Command::Kind::kReload;
    command.config = config.SerializeAsString();
    host.Send(command);
  };
  reload(1);
  for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
  reload(60);
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(Changes(engine.get(), std::vector{host.Tick()}), testing::IsEmpty());
    host.Suspend(59);
  }
}

TEST(Incident, StatusSaysWhatIsPromisedWhatWasToldAndThatTheTailIsThePriors) {
  const auto engine = MakeEngine();
  const Session session = Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 30, [](SimulatedHost& h) { h.at(0).cores = 0.02; });
  std::string id;
  for (const v1::IncidentChange& change : Changes(engine.get(), session.inputs)) id = change.incident().id();
  Command command;
  command.kind = Command::Kind::kFalseAlarm;
  command.incident_id = id;
  v1::Incident resolved;
  resolved.set_id(id);
  command.incident = resolved.SerializeAsString();
  TickInput next = session.inputs.back();
  next.tick += 1;
  next.boot_time_ns += kSecondNs;
  next.wall_time_ns += kSecondNs;
  next.commands = {command};
  engine->Step(std::vector{next});
  v1::Status status;
  engine->FillStatus(&status);
  const v1::Budgets& budgets = status.budgets();
  EXPECT_EQ(budgets.false_alarms_per_week_promised(), 1);
  EXPECT_NEAR(budgets.watched_seconds(), static_cast<double>(session.inputs.size()), 1);
  EXPECT_EQ(budgets.false_alarms_per_week_achieved(), 1) << "one in the first week";
  EXPECT_LT(budgets.false_alarms_per_week_lower(), 0.1);
  EXPECT_NEAR(budgets.false_alarms_per_week_upper(), 5.6, 0.1) << "Poisson, 95 %, two-sided";
  EXPECT_EQ(budgets.false_alarms_confirmed(), 1);
  EXPECT_NEAR(budgets.threshold_per_week(), 1, 0.2) << "one incident in a minute is little news of the law";
  EXPECT_GT(budgets.stretched(), 1000) << "a minute is stretched to a week";
  EXPECT_TRUE(budgets.from_prior());
}

}  // namespace
}  // namespace outlier
