#include "userspace/probes/proc_probe_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/proc/fake_proc.h"

namespace outlier {
namespace {

using ::testing::HasSubstr;
using Process = FakeProc::Process;

config::v1::Config Config() {
  config::v1::Config config;
  for (auto* probe : {config.mutable_probes()->mutable_tasks(), config.mutable_probes()->mutable_lifecycle(), config.mutable_probes()->mutable_syscall_latency()}) {
    *probe = "auto";
  }
  return config;
}

class ProcProbeSetTest : public ::testing::Test {
 protected:
  void Open() {
    auto set = OpenProcProbes(Config(), &messages_, proc_.root());
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = std::move(*set);
  }
  TickInput Tick() {
    TickInput input;
    EXPECT_TRUE(set_->Collect(&input).ok());
    return input;
  }
  uint64_t TickNs() const { return 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)); }
  ProcessKey Key(const Process& p) const { return {p.pid, p.start_ticks * TickNs()}; }
  static AccountSample Of(const TickInput& input, Account account) {
    for (const AccountSample& sample : input.accounts) {
      if (sample.account == account) return sample;
    }
    return {};
  }

  FakeProc proc_;
  std::vector<std::string> messages_;
  std::unique_ptr<ProbeSet> set_;
};

TEST_F(ProcProbeSetTest, ProcessesAreReadInOrderOfTheirKeys) {
  proc_.Put({.pid = 9, .cpu_ticks = 3, .run_ns = 31'234'567});
  proc_.Put({.pid = 1000, .parent = 9, .comm = "we) ird", .cpu_ticks = 50, .threads = 8, .run_ns = 7, .user = 33});
  proc_.Put({.pid = 2, .comm = "kthreadd", .flags = 0x00200000});
  Open();
  const TickInput input = Tick();
  ASSERT_EQ(input.processes.size(), 3u);
  const ProcessSample& first = input.processes[1];
  EXPECT_EQ(input.processes[0].key.pid, 2);
  EXPECT_TRUE(input.processes[0].kernel_thread);
  EXPECT_EQ(first.key.pid, 9);
  EXPECT_EQ(first.cpu_ns, std::max<uint64_t>(3 * TickNs(), 31'234'567));
  EXPECT_EQ(first.run_delay_ns, 3'123'456u);
  EXPECT_EQ(first.rss_anonymous_bytes, 100u * 1024);
  EXPECT_EQ(first.rss_file_bytes, 20u * 1024);
  EXPECT_EQ(first.rss_shared_bytes, 3u * 1024);
  EXPECT_EQ(first.swap_bytes, 4u * 1024);
  EXPECT_EQ(first.voluntary_switches, 11u);
  EXPECT_EQ(first.involuntary_switches, 5u);
  EXPECT_EQ(first.major_faults, 7u);
  EXPECT_EQ(first.read_bytes, 4096u);
  EXPECT_EQ(first.write_bytes, 8192u);
  EXPECT_EQ(input.processes[2].comm, "we) ird");
  EXPECT_EQ(input.processes[2].cpu_ns, 50 * TickNs());
  EXPECT_EQ(input.processes[2].threads, 8u);
  EXPECT_EQ(input.processes[2].user_id, 33u);
  EXPECT_GT(input.boot_time_ns, 0u);
}

TEST_F(ProcProbeSetTest, WhatWasUsedBeforeTheFirstTickIsChargedToNoOne) {
  proc_.Put({.pid = 9, .cpu_ticks = 500});
  Open();
  EXPECT_EQ(Of(Tick(), kUnattributedAccount).cpu_ns, 0u);
  proc_.Put({.pid = 9, .cpu_ticks = 520});
  EXPECT_EQ(Of(Tick(), kUnattributedAccount).cpu_ns, 20 * TickNs());
}

TEST_F(ProcProbeSetTest, EveryTickOfCpuIsInExactlyOneAccountAndChildrenInheritTheirParents) {
  Process server{.pid = 9, .cpu_ticks = 10};
  Process kernel{.pid = 2, .cpu_ticks = 5, .flags = 0x00200000};
  proc_.Put(server);
  proc_.Put(kernel);
  Open();
  Tick();
  set_->Assign(std::vector<AccountAssignment>{{Key(server), 7}});
  server.cpu_ticks = 14;
  kernel.cpu_ticks = 6;
  proc_.Put(server);
  proc_.Put(kernel);
  proc_.Put({.pid = 21, .parent = 20, .cpu_ticks = 2, .start_ticks = 900});  // a grandchild, listed with its new parent
  proc_.Put({.pid = 20, .parent = 9, .cpu_ticks = 1, .start_ticks = 900});
  proc_.Put({.pid = 30, .parent = 4, .cpu_ticks = 100, .start_ticks = 900});  // of a parent that is gone
  TickInput input = Tick();
  EXPECT_EQ(Of(input, 7).cpu_ns, (4 + 1 + 2) * TickNs());
  EXPECT_EQ(Of(input, 7).processes_started, 2u);
  EXPECT_EQ(Of(input, kKernelAccount).cpu_ns, 1 * TickNs());
  EXPECT_EQ(Of(input, kUnattributedAccount).cpu_ns, 100 * TickNs());
  for (size_t i = 1; i < input.accounts.size(); ++i) EXPECT_LT(input.accounts[i - 1].account, input.accounts[i].account);

  proc_.Remove(20);
  input = Tick();
  EXPECT_EQ(Of(input, 7).processes_ended, 1u);
  EXPECT_EQ(Of(input, 7).cpu_ns, 7 * TickNs());
  EXPECT_TRUE(input.events.empty());  // its end is of interest to no one: nobody was told of it
}

TEST_F(ProcProbeSetTest, AKnownProcessThatVanishesEndsOnceAndOneUnderTheSamePidIsAnother) {
  Process server{.pid = 9, .comm = "shop", .cpu_ticks = 10, .start_ticks = 100};
  proc_.Put(server);
  Open();
  Tick();
  set_->Assign(std::vector<AccountAssignment>{{Key(server), 7}, {{77, 1}, 8}});
  server.cpu_ticks = 12;
  proc_.Put(server);
  Tick();
  Process other{.pid = 9, .comm = "other", .cpu_ticks = 1, .start_ticks = 555};
  proc_.Put(other);
  TickInput input = Tick();
  ASSERT_EQ(input.events.size(), 1u);
  EXPECT_EQ(input.events[0].kind, LifecycleEvent::Kind::kEnd);
  EXPECT_EQ(input.events[0].key, Key(server));
  EXPECT_EQ(input.events[0].account, 7u);
  EXPECT_EQ(input.events[0].wait_status, 0);
  EXPECT_EQ(input.events[0].comm, "shop");
  EXPECT_EQ(Of(input, 7).processes_ended, 1u);
  EXPECT_EQ(Of(input, kUnattributedAccount).processes_started, 1u);
  ASSERT_EQ(input.processes.size(), 1u);
  EXPECT_EQ(input.processes[0].comm, "other");
  EXPECT_EQ(input.processes[0].cpu_ns, TickNs());
  EXPECT_TRUE(Tick().events.empty());
}

TEST_F(ProcProbeSetTest, AZombieHasEndedOnceWithTheStatusThatIsSeen) {
  Process server{.pid = 9, .cpu_ticks = 10};
  proc_.Put(server);
  Open();
  Tick();
  set_->Assign(std::vector<AccountAssignment>{{Key(server), 7}});
  server.state = 'Z';
  server.exit_code = 1 << 8;
  proc_.Put(server);
  TickInput input = Tick();
  EXPECT_TRUE(input.processes.empty());
  ASSERT_EQ(input.events.size(), 1u);
  EXPECT_EQ(input.events[0].wait_status, 256);
  EXPECT_EQ(Of(input, 7).exits_by_code, 1u);
  EXPECT_TRUE(Tick().events.empty());
  proc_.Remove(9);
  input = Tick();
  EXPECT_TRUE(input.events.empty());
  EXPECT_EQ(Of(input, 7).processes_ended, 1u);
}

TEST_F(ProcProbeSetTest, ALeaderThatLeftItsThreadsBehindHasNotEnded) {
  proc_.Put({.pid = 9, .cpu_ticks = 10, .threads = 3, .state = 'Z'});
  Open();
  EXPECT_EQ(Tick().processes.size(), 1u);
}

TEST_F(ProcProbeSetTest, ANewProcessOfAKnownExecutableIsAnExecutionAndAForkedWorkerIsNot) {
  Process supervisor{.pid = 5, .comm = "runner", .executable = "/bin/runner", .command_line = "runner"};
  Process server{.pid = 9, .parent = 5, .comm = "shop", .executable = "/bin/shop", .command_line = "shop -d"};
  proc_.Put(supervisor);
  proc_.Put(server);
  Open();
  Tick();
  set_->Assign(std::vector<AccountAssignment>{{Key(supervisor), 3}, {Key(server), 7}});
  Process worker = server, again = server;
  worker.pid = 10;
  worker.parent = 9;
  again.pid = 11;
  worker.start_ticks = again.start_ticks = 900;
  proc_.Put(worker);
  proc_.Put(again);
  TickInput input = Tick();
  ASSERT_EQ(input.events.size(), 1u);
  EXPECT_EQ(input.events[0].kind, LifecycleEvent::Kind::kExec);
  EXPECT_EQ(input.events[0].key.pid, 11);
  EXPECT_EQ(input.events[0].account, 3u);  // until user space says otherwise: its parent's

  server.comm = "renamed";  // by itself: the executable is the same
  supervisor.comm = "other";
  supervisor.executable = "/bin/other";
  supervisor.run_ns = 5;
  proc_.Put(server);
  proc_.Put(supervisor);
  input = Tick();
  ASSERT_EQ(input.events.size(), 1u);
  EXPECT_EQ(input.events[0].key.pid, 5);
}

TEST_F(ProcProbeSetTest, SwitchesOfAProcessThatHardlyRanAreCountedFromItsRunsAndSetRightInTurn) {
  Process waker{.pid = 9, .run_ns = 100'000, .runs = 20, .voluntary_switches = 20};
  proc_.Put(waker);
  Open();
  EXPECT_EQ(Tick().processes[0].voluntary_switches, 20u);
  for (int tick = 1; tick <= 40; ++tick) {  // more than one turn of 16
    waker.run_ns += 30'000;
    waker.runs += 2;
    waker.voluntary_switches += 2;
    proc_.Put(waker);
    EXPECT_EQ(Tick().processes[0].voluntary_switches, waker.voluntary_switches);
  }
  waker.run_ns += 30'000;
  waker.runs += 7;  // in one tick: worth reading
  waker.voluntary_switches += 4;
  proc_.Put(waker);
  EXPECT_EQ(Tick().processes[0].voluntary_switches, waker.voluntary_switches);
}

TEST_F(ProcProbeSetTest, AFewLongRunsAreNotTakenForWaiting) {
  Process loop{.pid = 9, .run_ns = 100'000, .runs = 20, .voluntary_switches = 20};
  proc_.Put(loop);
  Open();
  EXPECT_EQ(Tick().processes[0].voluntary_switches, 20u);
  for (int tick = 1; tick <= 20; ++tick) {
    loop.run_ns += 1'000'000'000;
    loop.runs += 1;
    proc_.Put(loop);
    EXPECT_EQ(Tick().processes[0].voluntary_switches, 20u);
  }
}

TEST_F(ProcProbeSetTest, WhatBeginsAndEndsBetweenTwoLooksIsCounted) {
  const auto forks = [&](int count) { proc_.Write("stat", fmt::format("cpu  1 1 1 1 1 1 1 1 0 0\nprocesses {}\n", count)); };
  const auto not_seen = [](const TickInput& input) {
    for (const LossSample& loss : input.losses) {
      if (loss.name == "starts_not_seen") return static_cast<int64_t>(loss.count);
    }
    return int64_t{-1};
  };
  proc_.Put({.pid = 9, .threads = 4});
  forks(1000);
  Open();
  EXPECT_EQ(not_seen(Tick()), 0);  // what was before is nobody's loss
  proc_.Put({.pid = 20, .parent = 9, .threads = 3});
  proc_.Put({.pid = 9, .cpu_ticks = 1, .threads = 6});
  forks(1005);
  EXPECT_EQ(not_seen(Tick()), 0) << "a process of three threads and two more threads: all were met";
  forks(1012);
  EXPECT_EQ(not_seen(Tick()), 7);
  proc_.Put({.pid = 21, .parent = 9});  // began after the count was read
  EXPECT_EQ(not_seen(Tick()), 7);
  forks(1013);
  EXPECT_EQ(not_seen(Tick()), 7);
  forks(1014);
  EXPECT_EQ(not_seen(Tick()), 8);
}

TEST_F(ProcProbeSetTest, ItSaysWhatItCannotSee) {
  Open();
  EXPECT_EQ(set_->mode(), "proc");
  const auto states = set_->states();
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[0].state(), v1::ProbeState::DEGRADED);
  EXPECT_EQ(states[1].state(), v1::ProbeState::DEGRADED);
  EXPECT_EQ(states[2].state(), v1::ProbeState::FAILED);
  EXPECT_THAT(states[1].blind_to(), HasSubstr("live less than one tick"));
  for (const auto& state : states) {
    EXPECT_FALSE(state.reason().empty());
    EXPECT_FALSE(state.blind_to().empty());
  }
  EXPECT_THAT(messages_, ::testing::Contains(::testing::AllOf(HasSubstr("processes that live less than one tick are not seen"),
                                                              HasSubstr("fails at once whenever it is started raises no incident"))));
  EXPECT_THAT(messages_, ::testing::Contains(HasSubstr("hidepid")));  // this one has no process 1
}

TEST_F(ProcProbeSetTest, AProbeThatIsDemandedButCannotBeIsAnErrorAndOneThatIsOffIsOff) {
  config::v1::Config config = Config();
  config.mutable_probes()->set_syscall_latency("on");
  EXPECT_EQ(OpenProcProbes(config, &messages_, proc_.root()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(OpenProcProbes(Config(), &messages_, proc_.root() + "/none").status().code(), absl::StatusCode::kNotFound);
  config = Config();
  for (auto* probe : {config.mutable_probes()->mutable_tasks(), config.mutable_probes()->mutable_syscall_latency()}) *probe = "off";
  auto set = OpenProcProbes(config, &messages_, proc_.root());
  ASSERT_TRUE(set.ok());
  proc_.Put({.pid = 9});
  TickInput input;
  ASSERT_TRUE((*set)->Collect(&input).ok());
  EXPECT_TRUE(input.processes.empty());
  EXPECT_EQ((*set)->states()[0].state(), v1::ProbeState::OFF);
  EXPECT_EQ((*set)->states()[1].state(), v1::ProbeState::OFF);
}

}  // namespace
}  // namespace outlier
