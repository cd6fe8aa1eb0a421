// How processes begin and end, as the kernel tells it.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <thread>

#include "tests/kernel/kernel_session.h"
#include "userspace/probes/doctor.h"

namespace outlier {
namespace {

using Kind = LifecycleEvent::Kind;

// A child that is gone when this returns. vfork: thousands of them are wanted.
[[gnu::noinline]] pid_t FailAtOnce() {
  const pid_t pid = vfork();
  if (pid == 0) _exit(5);
  return pid;
}

class LifecycleTest : public KernelSession {
 protected:
  int WaitFor(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  }
  void ExpectEndLikeWaitpid(pid_t pid) {
    const int status = WaitFor(pid);
    ASSERT_TRUE(TickUntil([&] { return Event(Kind::kEnd, pid) != nullptr; }));
    EXPECT_EQ(Event(Kind::kEnd, pid)->wait_status, status);
  }
};

TEST_F(LifecycleTest, AFailingProcessTooShortToBeScannedIsTold) {
  const pid_t child = fork();
  if (child == 0) _exit(3);
  ExpectEndLikeWaitpid(child);
  EXPECT_EQ(Event(Kind::kEnd, child)->parent_pid, getpid());
}

TEST_F(LifecycleTest, ASuccessfulProcessTooShortToBeScannedIsOnlyCounted) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  WaitFor(child);
  const pid_t marker = fork();  // its event comes after the child's would have
  if (marker == 0) _exit(1);
  ExpectEndLikeWaitpid(marker);
  EXPECT_EQ(Event(Kind::kEnd, child), nullptr);
}

TEST_F(LifecycleTest, ASignalIsToldAsWaitpidTellsIt) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  kill(child, SIGTERM);
  ExpectEndLikeWaitpid(child);
}

TEST_F(LifecycleTest, TheCodeOfAGroupExitCountsNotThatOfTheLeaderWhichLeftFirst) {
  const pid_t child = fork();
  if (child == 0) {
    std::thread([] {
      usleep(50'000);
      _exit(9);
    }).detach();
    syscall(SYS_exit, 0);  // the leader leaves, the process lives
  }
  ExpectEndLikeWaitpid(child);
}

TEST_F(LifecycleTest, AThreadThatEndsDoesNotEndItsProcess) {
  const pid_t child = fork();
  if (child == 0) {
    std::thread([] {}).join();
    raise(SIGSTOP);
    _exit(5);
  }
  waitpid(child, nullptr, WUNTRACED);
  AssignTo(child, 9);
  EXPECT_EQ(Event(Kind::kEnd, child), nullptr);
  const uint64_t ended = input_.accounts[9].processes_ended;
  kill(child, SIGCONT);
  ExpectEndLikeWaitpid(child);
  EXPECT_EQ(input_.accounts[9].processes_ended, ended + 1);
  EXPECT_EQ(input_.accounts[9].exits_by_code, 1u);
}

TEST_F(LifecycleTest, ExecByAThreadThatIsNotTheLeaderKeepsTheProcessAndItsAccount) {
  int gate[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::thread([&] {
      char go;
      if (read(gate[0], &go, 1) == 1) execl("/bin/sleep", "sleep", "60", nullptr);
      _exit(99);
    }).detach();
    while (true) pause();
  }
  AssignTo(child, 11);
  const ProcessKey key = Find(child)->key;
  ASSERT_EQ(write(gate[1], "x", 1), 1);
  ASSERT_TRUE(TickUntil([&] { return Event(Kind::kExec, child) != nullptr; }));
  EXPECT_EQ(Event(Kind::kExec, child)->key, key);
  EXPECT_EQ(Event(Kind::kExec, child)->account, 11u);
  EXPECT_EQ(Event(Kind::kEnd, child), nullptr) << "the old leader left, the process did not";
  kill(child, SIGKILL);
  ExpectEndLikeWaitpid(child);
  Tick();
  EXPECT_EQ(input_.accounts[11].processes_ended, 1u);
  EXPECT_EQ(input_.accounts[11].exits_by_signal, 1u);
  close(gate[0]);
  close(gate[1]);
}

TEST_F(LifecycleTest, AKnownExecutableThatDiesAtOnceIsIdentifiedByWhatTheKernelSaw) {
  // A copy of the shell under a name of its own runs long enough to be known, then again for a moment.
  char folder[] = "/tmp/outlier-exec-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string shell = std::string(folder) + "/python3";
  ASSERT_EQ(system(fmt::format("cp /bin/sh {}", shell).c_str()), 0);
  const pid_t first = fork();
  if (first == 0) {
    execl(shell.c_str(), "python3", "-c", "sleep 60 & wait", nullptr);
    _exit(99);
  }
  ASSERT_TRUE(TickUntil([&] { return Find(first) != nullptr && Find(first)->comm == "python3"; }));
  AssignTo(first, 12);
  Tick();
  const std::string script = std::string(folder) + "/billing.py";
  std::ofstream(script) << "exit 4\n";
  const pid_t second = fork();
  if (second == 0) {
    execl(shell.c_str(), "python3", script.c_str(), nullptr);
    _exit(99);
  }
  ExpectEndLikeWaitpid(second);
  const auto seen = std::find_if(identities_.begin(), identities_.end(), [&](const auto& identity) { return identity.key.pid == second; });
  ASSERT_NE(seen, identities_.end());
  EXPECT_TRUE(seen->exec);
  EXPECT_EQ(seen->executable, shell);
  EXPECT_EQ(seen->script, script);
  struct stat status {};
  ASSERT_EQ(stat(shell.c_str(), &status), 0);
  EXPECT_EQ(seen->executable_inode, status.st_ino);
  EXPECT_EQ(seen->executable_size, static_cast<uint64_t>(status.st_size));
  EXPECT_EQ(seen->executable_mtime_ns, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec);
  kill(first, SIGKILL);
  WaitFor(first);
  EXPECT_EQ(system(fmt::format("rm -r {}", folder).c_str()), 0);
}

TEST_F(LifecycleTest, AnExecutableIsKnownFromTheMomentItsProcessIsAssignedNotFromTheNextScan) {
  char folder[] = "/tmp/outlier-exec-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string service = std::string(folder) + "/service";
  ASSERT_EQ(system(fmt::format("cp /bin/sh {}", service).c_str()), 0);
  const auto run = [&](const char* script) {
    const pid_t pid = fork();
    if (pid == 0) {
      execl(service.c_str(), "service", "-c", script, nullptr);
      _exit(99);
    }
    return pid;
  };
  const pid_t first = run("sleep 60 & wait");
  ASSERT_TRUE(TickUntil([&] { return Find(first) != nullptr && Find(first)->comm == "service"; }));
  const AccountAssignment assignment{Find(first)->key, 12};
  probes_->Assign(std::span(&assignment, 1));
  kill(first, SIGKILL);
  WaitFor(first);
  const pid_t second = run("exit 4");  // begins and ends before the next scan
  ExpectEndLikeWaitpid(second);
  ASSERT_NE(Event(Kind::kExec, second), nullptr);
  const auto seen = std::find_if(identities_.begin(), identities_.end(), [&](const auto& identity) { return identity.key.pid == second; });
  ASSERT_NE(seen, identities_.end());
  EXPECT_EQ(seen->executable, service);
  EXPECT_EQ(system(fmt::format("rm -r {}", folder).c_str()), 0);
}

// Starts that a person need not see each of: what is not told is counted.
TEST_F(LifecycleTest, StartsOfOneExecutableBeyondTheRateAreCountedNotTold) {
  char folder[] = "/tmp/outlier-exec-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string service = std::string(folder) + "/storm";
  ASSERT_EQ(system(fmt::format("cp /bin/sh {}", service).c_str()), 0);
  const pid_t first = fork();
  if (first == 0) {
    execl(service.c_str(), "storm", "-c", "sleep 60 & wait", nullptr);
    _exit(99);
  }
  ASSERT_TRUE(TickUntil([&] { return Find(first) != nullptr && Find(first)->comm == "storm"; }));
  AssignTo(first, 12);
  Tick();
  constexpr int kStarts = 150;
  const uint64_t over_before = Loss("exec_over_rate");
  const size_t told_before = identities_.size();
  for (int i = 0; i < kStarts; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      execl(service.c_str(), "storm", "-c", ":", nullptr);
      _exit(99);
    }
    WaitFor(pid);
  }
  Tick();
  const auto told = std::count_if(identities_.begin() + static_cast<ptrdiff_t>(told_before), identities_.end(),
                                  [&](const IdentityObservation& seen) { return seen.executable == service; });
  EXPECT_GE(told, 32);
  EXPECT_EQ(Loss("exec_over_rate") - over_before, static_cast<uint64_t>(kStarts - told)) << "told or counted, nothing else";
  kill(first, SIGKILL);
  WaitFor(first);
  EXPECT_EQ(system(fmt::format("rm -r {}", folder).c_str()), 0);
}

TEST_F(LifecycleTest, EndsThatTheRingHasNoRoomForAreCountedAndKeptInTheirAccount) {
  Tick();
  const auto failed = [&] {
    return std::accumulate(input_.accounts.begin(), input_.accounts.end(), uint64_t{0},
                           [](uint64_t sum, const AccountSample& account) { return sum + account.exits_by_code + account.exits_by_signal; });
  };
  const uint64_t failed_before = failed(), lost_before = Loss("ring_full_end");
  const size_t told_before = events_.size();
  // Nothing is read meanwhile; more than three quarters of the ring, and the rest is left to what is rarer.
  constexpr int kEnds = (2 << 20) / 88;
  for (int i = 0; i < kEnds; ++i) WaitFor(FailAtOnce());
  Tick();
  const uint64_t lost = Loss("ring_full_end") - lost_before;
  const uint64_t told = std::count_if(events_.begin() + static_cast<ptrdiff_t>(told_before), events_.end(),
                                      [](const LifecycleEvent& event) { return event.kind == Kind::kEnd && event.wait_status == 5 << 8; });
  EXPECT_GT(lost, 0u);
  EXPECT_GE(told + lost, static_cast<uint64_t>(kEnds)) << "told or counted";
  EXPECT_LE(told + lost, failed() - failed_before) << "the counters miss none, of this test's processes and of others";
  const pid_t after = fork();
  if (after == 0) _exit(3);
  ExpectEndLikeWaitpid(after);  // it goes on
}

// A cgroup of the test's own, gone with it; of version 1 or 2, whichever has the memory controller here.
class MemoryCgroup {
 public:
  explicit MemoryCgroup(uint64_t limit) {
    const bool v1 = access("/sys/fs/cgroup/memory/memory.limit_in_bytes", W_OK) == 0;
    const std::string root = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    if (!v1) std::ofstream(root + "/cgroup.subtree_control") << "+memory";
    path_ = fmt::format("{}/outlier-test-{}", root, getpid());
    const std::string limit_file = v1 ? "memory.limit_in_bytes" : "memory.max";
    made_ = mkdir(path_.c_str(), 0755) == 0 && access((path_ + "/" + limit_file).c_str(), W_OK) == 0;
    Write(limit_file, std::to_string(limit));
    if (!v1) Write("memory.swap.max", "0");  // swapping is slower than the patience of this test
  }
  ~MemoryCgroup() {
    for (int i = 0; i < 100 && rmdir(path_.c_str()) != 0 && errno == EBUSY; ++i) usleep(10'000);
  }
  bool made() const { return made_; }
  void Write(const std::string& file, const std::string& text) { std::ofstream(path_ + "/" + file) << text; }

 private:
  std::string path_;
  bool made_ = false;
};

TEST_F(LifecycleTest, AnOomKillNamesTheLimitThatWasMetAndTheEndFollows) {
  constexpr uint64_t kLimit = 32 << 20;
  MemoryCgroup cgroup(kLimit);
  if (!cgroup.made()) GTEST_SKIP() << "no memory cgroup can be made here";
  const pid_t child = fork();
  if (child == 0) {
    raise(SIGSTOP);
    char* memory = static_cast<char*>(mmap(nullptr, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(memory, 1, 256 << 20);
    _exit(0);
  }
  waitpid(child, nullptr, WUNTRACED);
  cgroup.Write("cgroup.procs", std::to_string(child));
  kill(child, SIGCONT);
  ExpectEndLikeWaitpid(child);
  const LifecycleEvent* victim = Event(Kind::kOomVictim, child);
  ASSERT_NE(victim, nullptr);
  EXPECT_EQ(victim->constraint, OomConstraint::kMemoryCgroup);
  EXPECT_EQ(victim->oom_limit_bytes, kLimit);
  EXPECT_EQ(victim->oom_killer_pid, child);
  EXPECT_EQ(Event(Kind::kEnd, child)->wait_status & 0x7f, SIGKILL);
  EXPECT_LE(victim->time_ns, Event(Kind::kEnd, child)->time_ns);
}

TEST(ProbeDoctor, EveryProbeDoesWhatItIsForWhereItMayBeLoaded) {
  const KernelFeatures features = ProbeKernel();
  if (!features.missing.empty()) GTEST_SKIP() << features.missing.front();
  const auto states = DoctorProbes();
  ASSERT_EQ(states.size(), ProbeSpecs().size());
  for (const v1::ProbeState& state : states) EXPECT_EQ(state.state(), v1::ProbeState::ON) << state.name() << ": " << state.reason();
}

}  // namespace
}  // namespace outlier
