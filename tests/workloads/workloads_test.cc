#include "userspace/workloads/workloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

IdentityObservation Observed(std::string cgroup, std::string executable = "/usr/bin/python3", std::string script = "") {
  IdentityObservation o;
  o.cgroup_path = std::move(cgroup);
  o.executable = std::move(executable);
  o.script = std::move(script);
  return o;
}

const std::string kId(64, 'a');

TEST(Identity, AContainerIsFoundInEveryCgroupLayout) {
  for (const std::string& path : {"/docker/" + kId, "/system.slice/docker-" + kId + ".scope", "/machine.slice/libpod-" + kId + ".scope/container",
                                  "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/" + kId,
                                  "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod11111111_2222_3333_4444_555555555555.slice/"
                                  "cri-containerd-" + kId + ".scope"}) {
    const Identity identity = IdentityOf(Observed(path));
    EXPECT_EQ(identity.workload.kind(), v1::Workload::CONTAINER) << path;
    EXPECT_EQ(identity.workload.container_id(), kId) << path;
    EXPECT_EQ(identity.key, "container:" + kId) << path;
  }
}

TEST(Identity, APodIsNamedWithItsContainer) {
  const Identity identity = IdentityOf(Observed("/kubepods/pod11111111-2222-3333-4444-555555555555/" + kId));
  EXPECT_EQ(identity.workload.pod(), "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(identity.workload.name(), "11111111/aaaaaaaaaaaa");
}

TEST(Identity, AContainerWithAKnownNameHasItAndStaysItselfUnderANewId) {
  IdentityObservation seen = Observed("/kubepods/pod11111111-2222-3333-4444-555555555555/" + kId);
  seen.container_name = "billing";
  seen.pod = "shop-0";
  seen.pod_namespace = "prod";
  const Identity first = IdentityOf(seen);
  EXPECT_EQ(first.workload.name(), "shop-0/billing");
  EXPECT_EQ(first.workload.pod(), "shop-0");
  EXPECT_EQ(first.workload.namespace_(), "prod");
  seen.cgroup_path = "/kubepods/pod99999999-2222-3333-4444-555555555555/" + std::string(64, 'b');
  EXPECT_EQ(IdentityOf(seen).key, first.key);
  EXPECT_EQ(IdentityOf(seen).workload.container_id(), std::string(64, 'b'));
  seen.pod_namespace = "test";
  EXPECT_NE(IdentityOf(seen).key, first.key) << "another shop-0";
  IdentityObservation docker = Observed("/docker/" + kId);
  docker.container_name = "web";
  EXPECT_EQ(IdentityOf(docker).workload.name(), "web");
  EXPECT_NE(IdentityOf(docker).key, first.key);
}

TEST(Identity, AUnitInsideAContainerBelongsToTheContainer) {
  EXPECT_EQ(IdentityOf(Observed("/docker/" + kId + "/system.slice/nginx.service")).workload.kind(), v1::Workload::CONTAINER);
}

TEST(Identity, ASystemdServiceIsAWorkloadAndAScopeIsNot) {
  const Identity unit = IdentityOf(Observed("/system.slice/nginx.service"));
  EXPECT_EQ(unit.workload.kind(), v1::Workload::SYSTEMD_UNIT);
  EXPECT_EQ(unit.workload.name(), "nginx.service");
  EXPECT_EQ(IdentityOf(Observed("/user.slice/user-0.slice/session-3.scope")).workload.kind(), v1::Workload::EXECUTABLE);
  EXPECT_EQ(IdentityOf(Observed("/user.slice/user-1000.slice/user@1000.service/init.scope")).workload.kind(), v1::Workload::EXECUTABLE);
}

TEST(Identity, AnInterpreterIsNamedAfterItsScript) {
  const Identity identity = IdentityOf(Observed("", "/usr/bin/node", "/srv/billing.js"));
  EXPECT_EQ(identity.workload.name(), "billing.js");
  EXPECT_NE(identity.key, IdentityOf(Observed("", "/usr/bin/node", "/srv/orders.js")).key);
}

TEST(Identity, HostileNamesBecomePrintable) {
  const Identity identity = IdentityOf(Observed("", "/bin/\x1b[31mred\nline\xff"));
  EXPECT_EQ(identity.workload.name(), "\\x1b[31mred\\x0aline\\xff");
}

// A host of a few processes, told tick by tick.
class WorkloadsTest : public testing::Test {
 protected:
  WorkloadsTest() : workloads_(45 * kSecond) {
    input_.boot_id = "boot";
    input_.epoch = 1;
    input_.boot_time_ns = 1000 * kSecond;
    Living(1, 1, 0);
    Identify(1, "/sbin/init");
  }
  ProcessKey KeyOf(int pid) { return {pid, born_[pid]}; }
  // Lives from now on; start time in seconds since boot.
  void Living(int pid, uint64_t start_second, int parent) {
    born_[pid] = start_second * kSecond;
    ProcessSample sample;
    sample.key = KeyOf(pid);
    sample.parent_pid = parent;
    sample.threads = 1;
    sample.rss_anonymous_bytes = 1 << 20;
    living_[sample.key] = sample;
  }
  void Gone(int pid) { living_.erase(KeyOf(pid)); }
  void Identify(int pid, std::string executable, bool exec = false, uint64_t inode = 7) {
    IdentityObservation o = Observed("", std::move(executable));
    o.key = KeyOf(pid);
    o.parent_pid = living_.count(o.key) ? living_[o.key].parent_pid : 1;
    o.exec = exec;
    o.executable_inode = inode;
    input_.identities.push_back(o);
  }
  void End(int pid, int wait_status, uint64_t second, Account account = 0) {
    LifecycleEvent event;
    event.kind = LifecycleEvent::Kind::kEnd;
    event.key = KeyOf(pid);
    event.parent_pid = living_.count(event.key) ? living_[event.key].parent_pid : 1;
    event.account = account;
    event.wait_status = wait_status;
    event.time_ns = second * kSecond;
    input_.events.push_back(event);
    Gone(pid);
  }
  void OutOfMemory(int pid, uint64_t second) {
    LifecycleEvent event;
    event.kind = LifecycleEvent::Kind::kOomVictim;
    event.key = KeyOf(pid);
    event.time_ns = second * kSecond;
    event.constraint = OomConstraint::kMemoryCgroup;
    event.oom_limit_bytes = 64 << 20;
    input_.events.push_back(event);
  }
  WorkloadTick Tick() {
    input_.tick += 1;
    input_.processes.clear();
    for (const auto& [key, sample] : living_) input_.processes.push_back(sample);
    assignments_.clear();
    WorkloadTick out;
    workloads_.Observe(input_, &assignments_, &out);
    input_.identities.clear();
    input_.events.clear();
    input_.boot_time_ns += kSecond;
    input_.interval_ns = kSecond;
    return out;
  }
  Slot SlotNamed(std::string_view name) {
    for (Slot slot = 0; slot < static_cast<Slot>(workloads_.slots()); ++slot) {
      if (workloads_.used(slot) && workloads_.workload(slot).name() == name) return slot;
    }
    return 0;
  }
  uint64_t Now() const { return input_.boot_time_ns / kSecond; }

  class Workloads workloads_;
  TickInput input_;
  std::vector<AccountAssignment> assignments_;
  std::map<int, uint64_t> born_;
  std::map<ProcessKey, ProcessSample> living_;
};

TEST_F(WorkloadsTest, AChildBelongsToItsParentUntilItIsLookedUp) {
  Tick();
  Living(50, 1000, 1);
  WorkloadTick tick = Tick();
  EXPECT_EQ(tick.totals[SlotNamed("init")].processes, 2u);
  Identify(50, "/usr/bin/worker");
  tick = Tick();
  EXPECT_EQ(tick.totals[SlotNamed("init")].processes, 1u);
  EXPECT_EQ(tick.totals[SlotNamed("worker")].processes, 1u);
  ASSERT_EQ(assignments_.size(), 1u);
  EXPECT_EQ(assignments_[0].account, SlotNamed("worker"));
}

TEST_F(WorkloadsTest, ShortChildrenMakeNoWorkloadPerExecutable) {
  Tick();
  const int before = workloads_.slots();
  for (int pid = 100; pid < 200; ++pid) {
    Living(pid, Now(), 1);
    Identify(pid, "/bin/short-" + std::to_string(pid), /*exec=*/true);
    End(pid, 0, Now());
  }
  Tick();
  EXPECT_EQ(workloads_.slots(), before);
}

TEST_F(WorkloadsTest, TheFirstStartIsNotARestart) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  EXPECT_TRUE(Tick().restarts.empty());
}

TEST_F(WorkloadsTest, ThreeFailuresWithinAMinuteAreACrashLoop) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Tick();
  std::vector<v1::Restart::Cause> causes;
  for (int pid = 51; pid <= 54; ++pid) {
    End(pid - 1, 1 << 8, Now());
    Living(pid, Now() + 1, 1);
    Identify(pid, "/usr/bin/service", /*exec=*/true);
    input_.boot_time_ns += kSecond;
    const WorkloadTick tick = Tick();
    ASSERT_EQ(tick.restarts.size(), 1u);
    EXPECT_EQ(tick.restarts[0].exit_code, 1);
    EXPECT_EQ(tick.restarts[0].slot, SlotNamed("service"));
    causes.push_back(tick.restarts[0].cause);
  }
  EXPECT_EQ(causes[0], v1::Restart::CRASH);
  EXPECT_EQ(causes[2], v1::Restart::CRASH_LOOP);
  EXPECT_EQ(causes[3], v1::Restart::CRASH_LOOP);
}

TEST_F(WorkloadsTest, AServiceThatComesUpAndCrashesEachTenMinutesIsACrashLoopWithinTheHourAndAFailingTimerIsNone) {
  for (const uint64_t up_seconds : {590, 2}) {
    const int first = up_seconds > 60 ? 50 : 150;
    const std::string name = up_seconds > 60 ? "service" : "timer";
    Living(first, Now(), 1);
    Identify(first, "/usr/bin/" + name);
    Tick();
    std::vector<RestartFact> seen;
    for (int pid = first + 1; pid <= first + 7; ++pid) {
      input_.boot_time_ns += up_seconds * kSecond;
      End(pid - 1, 1 << 8, Now());
      input_.boot_time_ns += (600 - up_seconds) * kSecond;
      Living(pid, Now() + 1, 1);
      Identify(pid, "/usr/bin/" + name, /*exec=*/true);
      for (const RestartFact& fact : Tick().restarts) seen.push_back(fact);
    }
    ASSERT_EQ(seen.size(), 7u) << name;
    for (size_t n = 0; n < seen.size(); ++n) {
      const bool loop = name == "service" && n >= 5;
      EXPECT_EQ(seen[n].cause, loop ? v1::Restart::CRASH_LOOP : v1::Restart::CRASH) << name << " " << n;
      EXPECT_EQ(seen[n].told, name == "service") << name << " " << n;
    }
    EXPECT_EQ(seen.back().detail, name == "service" ? "failed and was restarted 6 times within an hour" : "");
  }
}

TEST_F(WorkloadsTest, AContainerThatIsMadeAnewAtEveryRestartCrashLoops) {
  Tick();
  std::vector<RestartFact> told;
  for (int i = 0; i < 4; ++i) {
    const int pid = 50 + i;
    Living(pid, Now(), 1);
    Identify(pid, "/usr/bin/billing");
    IdentityObservation& seen = input_.identities.back();
    seen.cgroup_path = "/kubepods/pod11111111-2222-3333-4444-555555555555/" + std::string(64, static_cast<char>('a' + i));
    seen.container_name = "billing";
    seen.pod = "shop-0";
    for (const RestartFact& fact : Tick().restarts) told.push_back(fact);
    EXPECT_EQ(workloads_.workload(SlotNamed("shop-0/billing")).container_id()[0], 'a' + i);
    End(pid, 1 << 8, Now());
    for (const RestartFact& fact : Tick().restarts) told.push_back(fact);
    for (int quiet = 0; quiet < 10; ++quiet) Tick();
  }
  EXPECT_TRUE(std::any_of(told.begin(), told.end(), [](const RestartFact& fact) { return fact.told && fact.cause == v1::Restart::CRASH_LOOP && fact.exit_code == 1; }));
}

TEST_F(WorkloadsTest, TheLimitOfItsCgroupIsKnownOfAWorkload) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  input_.identities.back().cgroup_path = "/system.slice/service.service";
  input_.identities.back().memory_limit_bytes = 64 << 20;
  Tick();
  EXPECT_EQ(Tick().totals[SlotNamed("service.service")].memory_limit_bytes, 64u << 20);
}

TEST_F(WorkloadsTest, TheSameCommandFromAnotherShellIsNotARestart) {
  Living(40, 800, 1);
  Living(41, 800, 1);
  Living(50, 900, 40);
  Identify(50, "/usr/bin/grep");
  Tick();
  for (int pid = 51; pid <= 56; ++pid) {
    End(pid - 1, 1 << 8, Now());
    Living(pid, Now() + 1, 40 + pid % 2);
    Identify(pid, "/usr/bin/grep", true);
    input_.boot_time_ns += kSecond;
    EXPECT_THAT(Tick().restarts, testing::IsEmpty());
  }
}

TEST_F(WorkloadsTest, ANewExecutableIsARolloutAndNotTold) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service", false, /*inode=*/7);
  Tick();
  End(50, SIGTERM, Now());
  Living(51, Now() + 1, 1);
  Identify(51, "/usr/bin/service", true, /*inode=*/8);
  input_.boot_time_ns += kSecond;
  const WorkloadTick tick = Tick();
  ASSERT_EQ(tick.restarts.size(), 1u);
  EXPECT_EQ(tick.restarts[0].cause, v1::Restart::ROLLOUT);
  EXPECT_FALSE(tick.restarts[0].told);
}

TEST_F(WorkloadsTest, AnOrderlyJobThatComesBackIsScheduledAndNeverTold) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/job");
  Tick();
  v1::Restart::Cause last = v1::Restart::CAUSE_UNSPECIFIED;
  for (int pid = 51; pid <= 56; ++pid) {
    End(pid - 1, 0, Now());
    Living(pid, Now() + 1, 1);
    Identify(pid, "/usr/bin/job", true);
    input_.boot_time_ns += kSecond;
    const WorkloadTick tick = Tick();
    ASSERT_EQ(tick.restarts.size(), 1u);
    EXPECT_FALSE(tick.restarts[0].told);
    last = tick.restarts[0].cause;
  }
  EXPECT_EQ(last, v1::Restart::SCHEDULED);
}

TEST_F(WorkloadsTest, TheMainProcessKilledForMemoryIsOutOfMemoryAtItsDeath) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Tick();
  OutOfMemory(50, Now());
  End(50, SIGKILL, Now());
  const WorkloadTick tick = Tick();
  ASSERT_EQ(tick.restarts.size(), 1u);
  EXPECT_EQ(tick.restarts[0].cause, v1::Restart::OUT_OF_MEMORY);
  EXPECT_THAT(tick.restarts[0].detail, testing::HasSubstr("64.0 MiB"));
  EXPECT_EQ(tick.totals[SlotNamed("service")].oom_kills, 1u);
}

TEST_F(WorkloadsTest, AChildKilledForMemoryUnderALivingParentIsToldApart) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Living(60, 950, 50);
  Tick();
  OutOfMemory(60, Now());
  End(60, SIGKILL, Now());
  const WorkloadTick tick = Tick();
  ASSERT_EQ(tick.restarts.size(), 1u);
  EXPECT_EQ(tick.restarts[0].cause, v1::Restart::CHILD_OUT_OF_MEMORY);
  EXPECT_EQ(tick.restarts[0].slot, SlotNamed("service"));
}

TEST_F(WorkloadsTest, Exit137WithoutTheOomKillerIsKilledNotOutOfMemory) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Tick();
  End(50, 137 << 8, Now());
  Living(51, Now() + 1, 1);
  Identify(51, "/usr/bin/service", true);
  input_.boot_time_ns += kSecond;
  const WorkloadTick tick = Tick();
  ASSERT_EQ(tick.restarts.size(), 1u);
  EXPECT_EQ(tick.restarts[0].cause, v1::Restart::KILLED);
  EXPECT_EQ(tick.restarts[0].exit_code, 137);
}

TEST_F(WorkloadsTest, WhatNobodyWasChargedForIsUnattributedAndTheSumIsTheKernels) {
  input_.host.cpu_is_exact = true;
  input_.host.cpu_ns = 5000;
  AccountSample init;
  init.account = kFirstOwnedSlot;
  input_.accounts = {init};
  Tick();
  input_.host.cpu_ns = 5000 + 1000;
  input_.accounts[0].cpu_ns = 990;
  WorkloadTick tick = Tick();
  EXPECT_EQ(tick.totals[kUnattributedSlot].delta.cpu_ns, 10u);
  // Reads overlap: what was charged too early is taken back from the next remainder.
  input_.host.cpu_ns += 100;
  input_.accounts[0].cpu_ns += 130;
  EXPECT_EQ(Tick().totals[kUnattributedSlot].delta.cpu_ns, 0u);
  input_.host.cpu_ns += 100;
  input_.accounts[0].cpu_ns += 60;
  EXPECT_EQ(Tick().totals[kUnattributedSlot].delta.cpu_ns, 10u);
}

TEST_F(WorkloadsTest, ANewEpochStartsItsCountersAtZeroAndTellsTheKernelAgain) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  AccountSample sample;
  sample.account = kFirstOwnedSlot + 1;
  sample.cpu_ns = 500;
  input_.accounts = {sample};
  Tick();
  input_.epoch = 2;
  input_.accounts[0].cpu_ns = 40;
  const WorkloadTick tick = Tick();
  EXPECT_EQ(tick.totals[kFirstOwnedSlot + 1].delta.cpu_ns, 40u);
  EXPECT_EQ(assignments_.size(), 2u);  // init and the service
}

TEST_F(WorkloadsTest, AProcessThatVanishesUnseenIsNoCrash) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Tick();
  Gone(50);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Tick().restarts.empty());
  Living(51, Now(), 1);
  Identify(51, "/usr/bin/service", true);
  const WorkloadTick tick = Tick();
  ASSERT_EQ(tick.restarts.size(), 1u);
  EXPECT_FALSE(tick.restarts[0].told);
}

TEST_F(WorkloadsTest, StateRestoresToTheSameBytesAndTheSameAnswers) {
  Living(50, 900, 1);
  Identify(50, "/usr/bin/service");
  Tick();
  std::string bytes, again;
  ArchiveWriter writer(&bytes);
  writer(workloads_);
  class Workloads other(45 * kSecond);
  ArchiveReader reader(bytes);
  reader(other);
  ASSERT_TRUE(reader.done());
  ArchiveWriter second(&again);
  second(other);
  EXPECT_EQ(bytes, again);
}

}  // namespace
}  // namespace outlier
