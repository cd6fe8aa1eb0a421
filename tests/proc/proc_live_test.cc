// The poller on the living /proc as an ordinary user: what it must see without any right.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "userspace/probes/proc_probe_set.h"

namespace outlier {
namespace {

constexpr Account kOurs = 5;
constexpr int kMostTicks = 2000;

config::v1::Config Config() {
  config::v1::Config config;
  for (auto* probe : {config.mutable_probes()->mutable_tasks(), config.mutable_probes()->mutable_lifecycle(), config.mutable_probes()->mutable_syscall_latency()}) {
    *probe = "auto";
  }
  return config;
}

const ProcessSample* Find(const TickInput& input, pid_t pid) {
  for (const ProcessSample& process : input.processes) {
    if (process.key.pid == pid) return &process;
  }
  return nullptr;
}

AccountSample Of(const TickInput& input, Account account) {
  for (const AccountSample& sample : input.accounts) {
    if (sample.account == account) return sample;
  }
  return {};
}

TickInput Tick(ProbeSet* set) {
  TickInput input;
  if (!set->Collect(&input).ok()) _exit(20);
  return input;
}

pid_t Burner() {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  volatile uint64_t spun = 0;
  for (;;) {
    spun = spun + 1;
  }
}

// Runs in a child that has given up root: gtest's own reporting stays in the parent, a status tells the step that failed.
int WatchAsNobody() {
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 10;
  prctl(PR_SET_DUMPABLE, 1);  // giving up root clears it; a program that an ordinary user starts has it
  std::vector<std::string> messages;
  auto opened = OpenProcProbes(Config(), &messages);
  if (!opened.ok()) return 11;
  ProbeSet& set = **opened;
  TickInput input = Tick(&set);
  const ProcessSample* self = Find(input, getpid());
  if (self == nullptr || self->user_id != geteuid() || self->rss_anonymous_bytes == 0) return 12;
  set.Assign(std::vector<AccountAssignment>{{self->key, kOurs}});

  // A child inherits the account, and the CPU it burns arrives there.
  const pid_t burner = Burner();
  int ticks = 0;
  for (; ticks < kMostTicks && Of(input, kOurs).cpu_ns < 200'000'000; ++ticks) {
    usleep(10'000);
    input = Tick(&set);
  }
  if (ticks == kMostTicks || Of(input, kOurs).processes_started != 1) return 13;
  const ProcessSample* burning = Find(input, burner);
  if (burning == nullptr || burning->cpu_ns < 100'000'000 || burning->parent_pid != getpid()) return 14;
  const ProcessKey key = burning->key;
  set.Assign(std::vector<AccountAssignment>{{key, kOurs + 1}});

  // Killed and waited for, it vanishes: one end, in the account it was moved to.
  kill(burner, SIGKILL);
  waitpid(burner, nullptr, 0);
  input = Tick(&set);
  if (Find(input, burner) != nullptr || input.events.size() != 1 || input.events[0].key != key) return 15;
  if (input.events[0].kind != LifecycleEvent::Kind::kEnd || Of(input, kOurs + 1).processes_ended != 1) return 16;

  // One's own zombie is seen to have been killed.
  const pid_t zombie = Burner();
  input = Tick(&set);
  if (Find(input, zombie) == nullptr) return 17;
  kill(zombie, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  input = Tick(&set);
  if (input.events.size() != 1 || !WIFSIGNALED(input.events[0].wait_status) || WTERMSIG(input.events[0].wait_status) != SIGKILL) return 18;
  waitpid(zombie, nullptr, 0);
  return Tick(&set).events.empty() ? 0 : 19;
}

TEST(ProcLive, AnOrdinaryUserSeesItsOwnCpuItsChildrenAndTheirEnds) {
  const pid_t watcher = fork();
  ASSERT_GE(watcher, 0);
  if (watcher == 0) _exit(WatchAsNobody());
  int status = 0;
  ASSERT_EQ(waitpid(watcher, &status, 0), watcher);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the step with this number failed";
}

TEST(ProcLive, CpuOfASingleThreadAgreesWithItsOwnClock) {
  std::vector<std::string> messages;
  auto set = OpenProcProbes(Config(), &messages);
  ASSERT_TRUE(set.ok());
  const auto own = [] {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  };
  for (int i = 0; i < 20; ++i) {
    const uint64_t before = own();
    const TickInput input = Tick(set->get());
    const uint64_t after = own();
    const ProcessSample* self = Find(input, getpid());
    ASSERT_NE(self, nullptr);
    EXPECT_LE(self->cpu_ns, after);
    EXPECT_GE(self->cpu_ns + 20'000'000, before);  // schedstat is brought up to date at the timer tick
  }
}

TEST(ProcLive, ManySleepingProcessesStayAffordable) {
  constexpr int kSleepers = 400;
  std::vector<pid_t> sleepers;
  for (int i = 0; i < kSleepers; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    if (pid > 0) sleepers.push_back(pid);
  }
  std::vector<std::string> messages;
  auto set = OpenProcProbes(Config(), &messages);
  ASSERT_TRUE(set.ok());
  Tick(set->get());
  std::vector<double> per_process_us;
  for (int i = 0; i < 24; ++i) {
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    const TickInput input = Tick(set->get());
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    per_process_us.push_back((static_cast<double>(b.tv_sec - a.tv_sec) * 1e6 + static_cast<double>(b.tv_nsec - a.tv_nsec) / 1e3) / static_cast<double>(input.processes.size()));
    EXPECT_GE(input.processes.size(), sleepers.size());
  }
  for (const pid_t pid : sleepers) kill(pid, SIGKILL);
  for (const pid_t pid : sleepers) waitpid(pid, nullptr, 0);
  std::sort(per_process_us.begin(), per_process_us.end());
  const double median = per_process_us[per_process_us.size() / 2];
  printf("median %.2f us of CPU a process and tick\n", median);
  // Reading /proc/PID/{stat,status} of each every time costs several times as much.
  EXPECT_LT(median, 20.0);
}

}  // namespace
}  // namespace outlier
