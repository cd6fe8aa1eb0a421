// Exact accounting under a fork storm: every nanosecond of the host belongs to one account.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "tests/kernel/kernel_session.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

constexpr Account kStormAccount = 7;
constexpr double kStormSeconds = 6;

void Work(int rounds) {
  for (int i = 0; i < rounds; ++i) asm volatile("" ::: "memory");
}

// Forks children that live well under 5 ms, as fast as it can, from SIGCONT on until it is killed.
pid_t MakeStorm() {
  const pid_t storm = fork();
  if (storm != 0) {
    waitpid(storm, nullptr, WUNTRACED);
    return storm;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  raise(SIGSTOP);
  while (true) {
    const pid_t child = fork();
    if (child == 0) {
      Work(5000);
      _exit(0);
    }
    if (child > 0) waitpid(child, nullptr, 0);
  }
}

struct Totals {
  uint64_t cpu_ns = 0, host_ns = 0, unattributed_ns = 0, storm_ns = 0, storm_started = 0;
  int64_t started_minus_ended = 0, alive = 0;
};

Totals Sum(const TickInput& input) {
  Totals totals;
  totals.host_ns = input.host.cpu_ns;
  for (const AccountSample& account : input.accounts) {
    totals.cpu_ns += account.cpu_ns;
    totals.started_minus_ended += static_cast<int64_t>(account.processes_started) - static_cast<int64_t>(account.processes_ended);
    if (account.account == kUnattributedAccount) totals.unattributed_ns = account.cpu_ns;
    if (account.account == kStormAccount) {
      totals.storm_ns = account.cpu_ns;
      totals.storm_started = account.processes_started;
    }
  }
  totals.alive = static_cast<int64_t>(input.processes.size());
  return totals;
}

class AccountingTest : public KernelSession {
 protected:
  // Everything that runs now belongs to account 2, so that account 0 is what nobody owns.
  void AssignAll() {
    std::vector<AccountAssignment> all;
    for (const ProcessSample& sample : Tick().processes) {
      if (!sample.kernel_thread) all.push_back({sample.key, kFirstWorkloadAccount});
    }
    probes_->Assign(all);
    Tick();
  }
};

TEST_F(AccountingTest, ForkStormIsChargedToTheForkingProcessAndNothingIsLost) {
  if (!Tick().host.cpu_is_exact) GTEST_SKIP() << "no root cpuacct.usage to compare with";
  AssignAll();
  const pid_t storms[2] = {MakeStorm(), MakeStorm()};
  for (const pid_t storm : storms) AssignTo(storm, kStormAccount);
  const Totals before = Sum(Tick());  // before the first fork, so that no release is under way
  for (const pid_t storm : storms) kill(storm, SIGCONT);
  const auto end = steady_clock::now() + std::chrono::duration<double>(kStormSeconds);
  while (steady_clock::now() < end) {
    usleep(500'000);
    Tick();
  }
  for (const pid_t storm : storms) kill(storm, SIGSTOP);
  // A process is charged when it is released, which a busy host puts off (RCU): what is under way must arrive.
  TickUntil([&] {
    const Totals now = Sum(input_);
    return std::abs(static_cast<double>(now.cpu_ns - before.cpu_ns) / static_cast<double>(now.host_ns - before.host_ns) - 1) < 0.005;
  });
  const Totals after = Sum(input_);
  for (const pid_t storm : storms) kill(storm, SIGKILL);
  double storm_seconds = 0;  // of the storms and the children they waited for, as the kernel tells their parent
  for (const pid_t storm : storms) {
    rusage usage{};
    wait4(storm, nullptr, 0, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      storm_seconds += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    }
  }

  const double host = static_cast<double>(after.host_ns - before.host_ns);
  const double counted = static_cast<double>(after.cpu_ns - before.cpu_ns);
  const double unattributed = static_cast<double>(after.unattributed_ns - before.unattributed_ns);
  printf("forks %lu, host %.3f s, accounts %.3f s (%.4f), account 0 %.4f, storm %.3f s, never freed %lu\n",
         after.storm_started - before.storm_started, host / 1e9, counted / 1e9, counted / host, unattributed / host,
         static_cast<double>(after.storm_ns - before.storm_ns) / 1e9, Loss("free_never_seen"));
  EXPECT_NEAR(counted / host, 1.0, 0.01);
  EXPECT_LT(unattributed / host, 0.01);
  EXPECT_GT(after.storm_started - before.storm_started, 500u);
  // The last releases come a few milliseconds later.
  const auto charged = [&] { return static_cast<double>(Sum(input_).storm_ns) / 1e9; };
  EXPECT_TRUE(TickUntil([&] { return std::abs(charged() / storm_seconds - 1) < 0.02; }))
      << "charged " << charged() << " s, used " << storm_seconds << " s";
}

TEST_F(AccountingTest, StartsMinusEndsIsTheChangeInLivingProcesses) {
  const Totals before = Sum(Tick());
  const pid_t storm = MakeStorm();
  AssignTo(storm, kStormAccount);
  kill(storm, SIGCONT);
  usleep(500'000);
  kill(storm, SIGSTOP);  // a quiet moment: the numbers are of one instant
  waitpid(storm, nullptr, WUNTRACED);
  // Other processes of this host come and go between the scan and the reading of the counters: retried until they did not.
  EXPECT_TRUE(TickUntil([&] {
    const Totals now = Sum(input_);
    return now.started_minus_ended - before.started_minus_ended == now.alive - before.alive;
  }));
  kill(storm, SIGKILL);
  waitpid(storm, nullptr, 0);
}

// Resident pages as /proc/PID/statm has them: all of them, and those of files and shared memory.
std::pair<int64_t, int64_t> Statm(pid_t pid) {
  int64_t size = 0, resident = 0, shared = 0;
  std::ifstream(fmt::format("/proc/{}/statm", pid)) >> size >> resident >> shared;
  return {resident, shared};
}

TEST_F(AccountingTest, ResidentSizesAreProcsWhileAProcessGrowsAndShrinks) {
  constexpr size_t kStep = 24 << 20;
  const int64_t page = sysconf(_SC_PAGESIZE);
  // Kernels since 6.2 keep a part of each count with each CPU, and statm leaves these parts out.
  const int64_t tolerance = 64 * sysconf(_SC_NPROCESSORS_CONF) * page;
  const pid_t child = fork();
  if (child == 0) {
    const auto map = [](int flags) {
      return static_cast<char*>(mmap(nullptr, kStep, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0));
    };
    raise(SIGSTOP);
    char* own = map(MAP_PRIVATE);
    memset(own, 1, kStep);
    raise(SIGSTOP);
    char* shared = map(MAP_SHARED);
    memset(shared, 1, kStep);
    raise(SIGSTOP);
    munmap(own, kStep);
    raise(SIGSTOP);
    munmap(shared, kStep);
    raise(SIGSTOP);
    _exit(0);
  }
  const auto told = [&] {
    waitpid(child, nullptr, WUNTRACED);
    Tick();
    const ProcessSample* sample = Find(child);
    EXPECT_NE(sample, nullptr);
    const ProcessSample process = sample != nullptr ? *sample : ProcessSample();
    const auto [resident, shared] = Statm(child);
    const auto all = static_cast<int64_t>(process.rss_anonymous_bytes + process.rss_file_bytes + process.rss_shared_bytes);
    EXPECT_NEAR(all, resident * page, tolerance);
    EXPECT_NEAR(static_cast<int64_t>(process.rss_file_bytes + process.rss_shared_bytes), shared * page, tolerance);
    kill(child, SIGCONT);
    return process;
  };
  const ProcessSample begun = told(), grown = told(), with_shared = told(), without_own = told(), at_end = told();
  // What the process itself maps on the way, such as pages it shared with its parent, is in statm too.
  const auto near = [&](uint64_t now, uint64_t before, int64_t step) {
    EXPECT_NEAR(static_cast<int64_t>(now) - static_cast<int64_t>(before), step, tolerance + (2 << 20));
  };
  near(grown.rss_anonymous_bytes, begun.rss_anonymous_bytes, kStep);
  near(with_shared.rss_shared_bytes, grown.rss_shared_bytes, kStep);
  near(without_own.rss_anonymous_bytes, begun.rss_anonymous_bytes, 0);
  near(at_end.rss_shared_bytes, begun.rss_shared_bytes, 0);
  waitpid(child, nullptr, 0);
}

TEST_F(AccountingTest, CountersOnlyGrow) {
  const pid_t storm = MakeStorm();
  AssignTo(storm, kStormAccount);
  kill(storm, SIGCONT);
  std::map<Account, uint64_t> last;
  for (int i = 0; i < 20; ++i) {
    for (const AccountSample& account : Tick().accounts) {
      EXPECT_GE(account.cpu_ns, last[account.account]);
      last[account.account] = account.cpu_ns;
    }
    usleep(20'000);
  }
  EXPECT_GT(last[kStormAccount], 0u);
  kill(storm, SIGKILL);
  waitpid(storm, nullptr, 0);
}

TEST_F(AccountingTest, AProcessOfManyThreadsReportsWhatTheKernelReports) {
  const pid_t busy = fork();
  if (busy == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) {  // threads that come and go
      std::thread(Work, 500000).join();
    }
  }
  AssignTo(busy, kStormAccount);
  uint64_t last = 0;
  for (int i = 0; i < 30; ++i) {
    Tick();
    const ProcessSample* sample = Find(busy);
    ASSERT_NE(sample, nullptr);
    EXPECT_GE(sample->cpu_ns, last);
    last = sample->cpu_ns;
    usleep(10'000);
  }
  kill(busy, SIGSTOP);
  waitpid(busy, nullptr, WUNTRACED);
  Tick();
  const uint64_t told = Find(busy)->cpu_ns;
  timespec clock{};
  clockid_t id;
  ASSERT_EQ(clock_getcpuclockid(busy, &id), 0);
  clock_gettime(id, &clock);
  const double truth = static_cast<double>(clock.tv_sec) * 1e9 + static_cast<double>(clock.tv_nsec);
  EXPECT_NEAR(static_cast<double>(told) / truth, 1.0, 0.01);
  kill(busy, SIGKILL);
  waitpid(busy, nullptr, 0);
}

}  // namespace
}  // namespace outlier
