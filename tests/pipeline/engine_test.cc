#include "tests/pipeline/engine_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include <fmt/format.h>

namespace outlier {
namespace {

std::string Bytes(const std::vector<v1::IncidentChange>& changes) {
  std::string out;
  for (const v1::IncidentChange& change : changes) out += change.SerializeAsString();
  return out;
}

double SecondsAfterFault(const Session& session, const google::protobuf::Timestamp& time) {
  return (time.seconds() * 1e9 + time.nanos() - 1.8e18 - static_cast<double>(session.fault_ns)) * 1e-9;
}

// The one incident of the first service, opened within `within` seconds, with an onset within 3 s of the fault, resolved in the end.
v1::Incident TheIncident(const Session& session, double within, double onset_error = 3) {
  const auto engine = MakeEngine();
  const std::vector<v1::IncidentChange> changes = Changes(engine.get(), session.inputs);
  v1::Incident last;
  int opened = 0;
  for (const v1::IncidentChange& change : changes) {
    EXPECT_EQ(change.incident().workload().name(), "service-0") << change.ShortDebugString();
    if (change.kind() == v1::IncidentChange::OPENED) {
      ++opened;
      EXPECT_LE(SecondsAfterFault(session, change.time()), within);
      EXPECT_NEAR(SecondsAfterFault(session, change.incident().onset_time()), 0, onset_error);
    }
    if (change.kind() == v1::IncidentChange::RESOLVED) last = change.incident();
  }
  EXPECT_EQ(opened, 1);
  EXPECT_EQ(last.state(), v1::Incident::RESOLVED);
  return last;
}

TEST(Engine, ABurntCoreIsAStepOfCpuWithinTenSeconds) {
  const v1::Incident incident = TheIncident(Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 30, [](SimulatedHost& h) { h.at(0).cores = 0.02; }), 10);
  EXPECT_EQ(incident.pattern(), v1::Incident::STEP);
  EXPECT_EQ(incident.contributions(0).signal(), "process.cpu.utilization");
  EXPECT_EQ(incident.contributions(0).direction(), v1::Contribution::UP);
  EXPECT_NEAR(incident.contributions(0).observed(), 1.0, 0.3);
  EXPECT_LT(incident.contributions(0).upper(), 0.2);
}

// What /proc shows of a service that computes on a core of its own and, unless `waits`, waits for nothing meanwhile.
std::vector<v1::IncidentChange> OfAComputingService(bool waits) {
  const auto computes = [&](SimulatedHost& h, int) {
    h.at(0).cores = 1.0;
    h.at(0).contended = false;
    if (!waits) h.at(0).work = 0;
  };
  Session session = Record(computes, 30, [](SimulatedHost& h) { h.at(0).cores = 0.02, h.at(0).work = 10; });
  for (TickInput& input : session.inputs) input.syscalls.clear();
  return Changes(MakeEngine().get(), session.inputs);
}

TEST(Engine, AServiceThatComputesAndNoLongerWaitsIsToldBeforeItIsKnown) {
  const auto changes = OfAComputingService(false);
  ASSERT_FALSE(changes.empty());
  EXPECT_EQ(changes[0].incident().workload().name(), "service-0");
  EXPECT_EQ(changes[0].incident().contributions(0).signal(), "process.cpu.utilization");
}

TEST(Engine, AServiceThatComputesAndWaitsAsBeforeIsNotToldBeforeItIsKnown) { EXPECT_THAT(OfAComputingService(true), testing::IsEmpty()); }

TEST(Engine, ALeakIsADriftWithItsRateAndTimeToExhaustion) {
  const v1::Incident incident = TheIncident(Record([](SimulatedHost& h, int) { h.at(0).growth = 5 << 20; }, 60,
                                                   [](SimulatedHost& h) { h.at(0).growth = 0; h.at(0).memory = 20 << 20; }), 60, 30);
  EXPECT_EQ(incident.pattern(), v1::Incident::DRIFT);
  EXPECT_THAT(incident.contributions(0).signal(), testing::StartsWith("process.memory."));
  EXPECT_NEAR(incident.growth_per_second(), 5 << 20, 1 << 20);
  EXPECT_GT(incident.time_to_exhaustion().seconds(), 100);
}

TEST(Engine, ALeakIsFullWhereItsCgroupEndsAndNotWhereTheHostDoes) {
  const auto engine = MakeEngine();
  SimulatedHost host(2);
  host.Add("leaky", "leaky.service", uint64_t{512} << 20);
  std::optional<v1::Incident> told;
  for (int t = 0; t < 160; ++t) {
    if (t == 100) host.at(2).growth = 5 << 20;
    for (const TickOutput& output : engine->Step(std::vector{host.Tick()})) {
      for (const v1::IncidentChange& change : output.changes) {
        if (change.incident().workload().name() == "leaky.service") told = change.incident();
      }
    }
  }
  ASSERT_TRUE(told && told->has_time_to_exhaustion());
  EXPECT_LT(told->time_to_exhaustion().seconds(), 110) << "of 512 MiB some 490 were left at the most, which goes in 98 s";
}

TEST(Engine, ARiseOfSeverityAndNothingElseIsAnEventOfItsKind) {
  const auto crashes = [](SimulatedHost& h, int i) {
    if (i % 2 == 0) h.End(h.at(0), 1 << 8);
    if (i % 2 == 1) h.Start(h.at(0));
  };
  const auto climbs = [](SimulatedHost& h, int i) { h.at(0).cores = 0.02 * (1 + 0.15 * i); };
  int rises = 0;
  for (const Session& session : {Record(crashes, 30, [](SimulatedHost&) {}), Record(climbs, 60, [](SimulatedHost& h) { h.at(0).cores = 0.02; })}) {
    auto before = v1::Incident::CRITICAL;
    for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
      const bool rose = change.kind() == v1::IncidentChange::UPDATED && change.incident().severity() > before;
      EXPECT_EQ(change.incident().changes().rbegin()->kind() == "severity", rose) << change.ShortDebugString();
      before = change.incident().severity();
      rises += rose;
    }
  }
  EXPECT_GT(rises, 0);
}

TEST(Engine, OneAllocationThatStaysIsNotADrift) {
  const Session session = Record([](SimulatedHost& h, int i) { if (i == 0) h.at(0).memory += 200 << 20; }, 40, [](SimulatedHost&) {});
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    EXPECT_NE(change.incident().pattern(), v1::Incident::DRIFT) << change.ShortDebugString();
  }
}

TEST(Engine, ACrashLoopIsToldWithItsExitCode) {
  const v1::Incident incident = TheIncident(Record(
      [](SimulatedHost& h, int i) {
        if (i % 2 == 0) h.End(h.at(0), 1 << 8);
        if (i % 2 == 1) h.Start(h.at(0));
      }, 20, [](SimulatedHost&) {}, 120), 15);
  EXPECT_EQ(incident.restart().cause(), v1::Restart::CRASH_LOOP);
  EXPECT_EQ(incident.restart().exit_code(), 1);
  EXPECT_GE(incident.restart().count(), 5u);
  EXPECT_EQ(incident.contributions(0).signal(), "workload.restarts");
}

TEST(Engine, TheOnsetStandsWhileTheWallClockIsSlewedAndTheHistoryTellsTheCountOfItsMoment) {
  Session session = Record(
      [](SimulatedHost& h, int i) {
        if (i % 2 == 0) h.End(h.at(0), 1 << 8);
        if (i % 2 == 1) h.Start(h.at(0));
      }, 40, [](SimulatedHost&) {}, 120);
  int64_t slewed = 0;
  for (TickInput& input : session.inputs) input.wall_time_ns -= slewed += 40'000;
  std::set<std::string> onsets;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    onsets.insert(change.incident().onset_time().ShortDebugString());
    const std::string& detail = change.incident().changes().rbegin()->detail();
    if (!detail.starts_with("restarted ")) continue;
    EXPECT_EQ(detail, fmt::format("restarted {} times", change.incident().restart().count()));
  }
  EXPECT_EQ(onsets.size(), 1u) << testing::PrintToString(onsets);
}

TEST(Engine, AnOomKillIsToldAtOnce) {
  const v1::Incident incident = TheIncident(Record(
      [](SimulatedHost& h, int i) {
        if (i == 0) h.OutOfMemory(h.at(0));
        if (i == 2) h.Start(h.at(0));
      }, 5, [](SimulatedHost&) {}, 90), 2);
  EXPECT_EQ(incident.restart().cause(), v1::Restart::OUT_OF_MEMORY);
  EXPECT_EQ(incident.restart().signal(), 9);
}

TEST(Engine, MissingFilesAreErrorsNotLoad) {
  const v1::Incident incident = TheIncident(Record([](SimulatedHost& h, int) { h.at(0).errors = 200; }, 30, [](SimulatedHost& h) { h.at(0).errors = 0; }), 10);
  EXPECT_EQ(incident.contributions(0).signal(), "process.syscall.errors");
  EXPECT_EQ(incident.contributions(0).attributes().at("syscall.class"), "file");
}

// Ten times the work, and as large a share of it fails as ever.
TEST(Engine, FailuresThatComeWithTheCallsAreNoErrors) {
  SimulatedHost host(3);
  std::vector<TickInput> inputs;
  host.at(0).work = 20;
  host.at(0).errors = 4;
  for (int i = 0; i < 120; ++i) inputs.push_back(host.Tick());
  host.at(0).work = 200;
  host.at(0).errors = 40;
  host.at(0).cores = 0.5;
  for (int i = 0; i < 30; ++i) inputs.push_back(host.Tick());
  bool told = false;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), inputs)) {
    told = true;
    for (const v1::Contribution& c : change.incident().contributions()) EXPECT_NE(c.signal(), "process.syscall.errors");
  }
  EXPECT_TRUE(told) << "of the work";
}

TEST(Engine, ASlowFileSystemIsAChangeOfShape) {
  const v1::Incident incident = TheIncident(Record([](SimulatedHost& h, int) { h.at(0).read_seconds = 0.05; }, 30, [](SimulatedHost& h) { h.at(0).read_seconds = 20e-6; }), 15);
  EXPECT_EQ(incident.contributions(0).signal(), "process.syscall.duration");
  EXPECT_EQ(incident.contributions(0).direction(), v1::Contribution::UP);
  EXPECT_THAT(incident.pattern(), testing::AnyOf(v1::Incident::SHAPE, v1::Incident::STEP));
}

TEST(Engine, EventsThatWereLostWhileAnIncidentWasOpenArePartOfItsCoverage) {
  Session session = Record([](SimulatedHost& host, int) { host.at(0).cores = 0.9; }, 30, [](SimulatedHost& host) { host.at(0).cores = 0.02; });
  for (size_t i = 0; i < session.inputs.size(); ++i) {
    const uint64_t after = i < 75 ? 0 : i - 74;  // the incident is open by then
    session.inputs[i].losses = {{"exec_over_rate", 100 + 2 * after}, {"identity_gone", 1000 * i}, {"ring_full_end", 7 + after}};
  }
  const auto engine = MakeEngine();
  uint64_t most = 0;
  for (const v1::IncidentChange& change : Changes(engine.get(), session.inputs)) {
    if (change.kind() == v1::IncidentChange::OPENED) {
      EXPECT_EQ(change.incident().coverage().events_lost(), 0u) << "what was lost before is not its";
    }
    most = std::max<uint64_t>(most, change.incident().coverage().events_lost());
  }
  EXPECT_GE(most, 3u);
  EXPECT_EQ(most % 3, 0u) << "two of one kind and one of the other a tick; a look-up that came too late is no lost event";
  v1::Status status;
  engine->FillStatus(&status);
  bool told = false;
  for (const v1::LossCounter& loss : status.losses()) told |= loss.name() == "ring_full_end" && loss.count() > 7 && !loss.meaning().empty();
  EXPECT_TRUE(told);
}

TEST(Engine, AServiceThatStopsWorkingIsSilent) {
  const v1::Incident incident = TheIncident(Record(
      [](SimulatedHost& h, int) { h.at(0).work = 0; h.at(0).cores = 0; h.at(0).run_delay = 0; }, 40,
      [](SimulatedHost& h) { h.at(0).work = 10; h.at(0).cores = 0.02; h.at(0).run_delay = 0.005; }), 20);
  EXPECT_EQ(incident.pattern(), v1::Incident::SILENCE);
}

TEST(Engine, AForkStormIsCountedForTheWorkloadThatForks) {
  const v1::Incident incident = TheIncident(Record([](SimulatedHost& h, int) { h.at(0).started = 1000; h.at(0).cores = 0.9; }, 30,
                                                   [](SimulatedHost& h) { h.at(0).started = 0; h.at(0).cores = 0.02; }), 10);
  EXPECT_EQ(incident.contributions(0).signal(), "workload.process.started");
}

TEST(Engine, TheOneThatTookTheCpuIsSuspected) {
  SimulatedHost host(3);
  Session session;
  host.at(0).cores = 0.6;
  for (int i = 0; i < 60; ++i) session.inputs.push_back(host.Tick());
  host.at(0).cores = 0.45;
  host.at(0).run_delay = 0.5;
  host.at(2).cores = 0.55;
  for (int i = 0; i < 15; ++i) session.inputs.push_back(host.Tick());
  bool found = false;
  for (const v1::IncidentChange& change : Changes(MakeEngine().get(), session.inputs)) {
    if (change.incident().workload().name() != "service-0" || change.incident().suspects().empty()) continue;
    found = true;
    EXPECT_EQ(change.incident().contributions(0).signal(), "process.cpu.run_delay");
    EXPECT_EQ(change.incident().suspects(0).workload().name(), "service-2");
    EXPECT_FALSE(change.incident().suspects(0).evidence().empty());
  }
  EXPECT_TRUE(found);
}

TEST(Engine, HealthyServicesRaiseNothingInTenMinutes) {
  const Session session = Record([](SimulatedHost&, int) {}, 540, [](SimulatedHost&) {}, 0, /*services=*/20);
  EXPECT_THAT(Changes(MakeEngine().get(), session.inputs), testing::IsEmpty());
}

TEST(Engine, NothingIsToldOfAWorkloadThatIsStillLearning) {
  SimulatedHost host(2);
  std::vector<TickInput> inputs;
  for (int i = 0; i < 40; ++i) {
    host.at(0).cores = i < 20 ? 0.02 : 1.0;
    inputs.push_back(host.Tick());
  }
  EXPECT_THAT(Changes(MakeEngine().get(), inputs), testing::IsEmpty());
}

// A session with everything in it: several faults, an acknowledgement, a reload.
Session Everything() {
  return Record(
      [](SimulatedHost& h, int i) {
        h.at(0).cores = 1.0;
        if (i == 5) h.End(h.at(1), 11);
        if (i == 7) h.Start(h.at(1));
        if (i == 12) h.OutOfMemory(h.at(2));
        if (i == 13) h.Start(h.at(2));
        if (i == 20) {
          Command reload;
          reload.kind = Command::Kind::kReload;
          config::v1::Config config = ShortWarmUp();
          config.mutable_detection()->set_half_life(3600 * kSecondNs);
          reload.config = config.SerializeAsString();
          h.Send(reload);
        }
      },
      40, [](SimulatedHost& h) { h.at(0).cores = 0.02; }, 100);
}

TEST(Engine, WhatBeginsInTheWarmUpHasToHoldOnWhenItIsOver) {
  const auto opened_after = [](int until) {
    const auto engine = MakeEngine();
    SimulatedHost host(3);
    int opened = -1;
    for (int t = 0; t < 75; ++t) {
      host.at(0).cores = t >= 35 && t < until ? 1.0 : SimulatedHost(1).at(0).cores;
      for (const TickOutput& output : engine->Step(std::vector{host.Tick()})) opened = opened < 0 && !output.changes.empty() ? t : opened;
    }
    return opened;
  };
  EXPECT_EQ(opened_after(47), -1) << "two seconds of it were seen";
  EXPECT_GE(opened_after(75), 49);
}

TEST(Engine, ABatchOfTicksGivesWhatSingleTicksGive) {
  const Session session = Everything();
  const std::string single = Bytes(Changes(MakeEngine().get(), session.inputs));
  ASSERT_FALSE(single.empty());
  for (size_t batch : {2, 7, 60, 1000}) EXPECT_EQ(Bytes(Changes(MakeEngine().get(), session.inputs, batch)), single) << batch;
}

TEST(Engine, RestoringInTheMiddleGoesOnWithTheSameBytes) {
  const Session session = Everything();
  const auto whole = MakeEngine();
  const std::span<const TickInput> inputs = session.inputs;
  for (size_t middle : {1, 45, 66, 73, 90, 120}) {
    const auto first = MakeEngine();
    std::string bytes = Bytes(Changes(first.get(), inputs.first(middle)));
    const auto second = MakeEngine();
    ASSERT_TRUE(second->Load(first->Save()).ok());
    EXPECT_EQ(second->Save(), first->Save()) << middle;
    bytes += Bytes(Changes(second.get(), inputs.subspan(middle)));
    EXPECT_EQ(bytes, Bytes(Changes(MakeEngine().get(), inputs))) << middle;
  }
}

TEST(Engine, AnAcknowledgementIsAChangeOfTheIncident) {
  const auto engine = MakeEngine();
  SimulatedHost host(1);
  for (int i = 0; i < 60; ++i) engine->Step(std::vector{host.Tick()});
  host.at(0).cores = 1.0;
  std::string id;
  for (int i = 0; i < 15 && id.empty(); ++i) {
    for (const v1::IncidentChange& change : Changes(engine.get(), std::vector{host.Tick()})) id = change.incident().id();
  }
  ASSERT_FALSE(id.empty());
  Command command;
  command.kind = Command::Kind::kAcknowledge;
  command.incident_id = id;
  command.author = "alice\x1b[2J";
  host.Send(command);
  const auto changes = Changes(engine.get(), std::vector{host.Tick()});
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].kind(), v1::IncidentChange::ACKNOWLEDGED);
  EXPECT_TRUE(changes[0].incident().acknowledged());
  EXPECT_EQ(changes[0].incident().changes().rbegin()->detail(), "by alice\\x1b[2J");
}

TEST(Engine, AnIncidentWhoseStateWasLostIsClosed) {
  const auto engine = MakeEngine();
  SimulatedHost host(1);
  v1::Incident orphan;
  orphan.set_id("0123456789abcdef");
  orphan.set_state(v1::Incident::OPEN);
  Command command;
  command.kind = Command::Kind::kAbandon;
  command.incident_id = orphan.id();
  command.incident = orphan.SerializeAsString();
  host.Send(command);
  const auto changes = Changes(engine.get(), std::vector{host.Tick()});
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].kind(), v1::IncidentChange::RESOLVED);
  EXPECT_EQ(changes[0].incident().state(), v1::Incident::RESOLVED);
}

TEST(Engine, IgnoredSignalsRaiseNothing) {
  config::v1::Config config = ShortWarmUp();
  config::v1::WorkloadRule& rule = *config.add_workloads();
  rule.mutable_match()->set_executable("/srv/service-*");
  for (const char* signal : {"process.cpu.utilization", "process.cpu.run_delay", "process.context_switches"}) rule.add_ignore(signal);
  const Session session = Record([](SimulatedHost& h, int) { h.at(0).cores = 1.0; }, 30, [](SimulatedHost& h) { h.at(0).cores = 0.02; });
  EXPECT_THAT(Changes(MakeEngine(config).get(), session.inputs), testing::IsEmpty());
}

TEST(Engine, DamagedStateIsRefusedAndChangesNothing) {
  const auto engine = MakeEngine();
  SimulatedHost host(3);
  for (int i = 0; i < 10; ++i) engine->Step(std::vector{host.Tick()});
  const std::string good = engine->Save();
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    if (i % 3 == 0) bad.resize(random() % bad.size());
    else bad[random() % bad.size()] ^= 1 << (random() % 8);
    EXPECT_FALSE(engine->Load(bad).ok());
  }
  EXPECT_EQ(engine->Load("").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(engine->Save(), good);
}

}  // namespace
}  // namespace outlier
