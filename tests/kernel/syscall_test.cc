// Which calls are counted, in which class, and what counts as an error.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>

#include "tests/kernel/kernel_session.h"
#include "userspace/probes/syscall_classes.h"

namespace outlier {
namespace {

constexpr Account kAccount = 21;
constexpr int kCalls = 500;

class SyscallTest : public KernelSession {
 protected:
  // Runs `work` in a child that is charged to kAccount from before its first call.
  template <class Work>
  void RunCharged(Work work) {
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      raise(SIGSTOP);
      work();
      raise(SIGSTOP);
      _exit(0);
    }
    waitpid(child, nullptr, WUNTRACED);
    AssignTo(child, kAccount);
    kill(child, SIGCONT);
    waitpid(child, nullptr, WUNTRACED);
    Tick();
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
};

TEST_F(SyscallTest, ReadsOfARegularFileAreOfClassFile) {
  RunCharged([] {
    char byte;
    const int fd = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < kCalls; ++i) (void)!pread(fd, &byte, 1, 0);
  });
  EXPECT_GE(Calls(kAccount, SyscallClass::kFile), static_cast<uint64_t>(kCalls));
  EXPECT_LT(Calls(kAccount, SyscallClass::kBlocking), 20u);
}

TEST_F(SyscallTest, ReadsOfAPipeAreBlocking) {
  RunCharged([] {
    int ends[2];
    char byte = 0;
    if (pipe(ends) != 0) _exit(1);
    for (int i = 0; i < kCalls; ++i) {
      (void)!write(ends[1], &byte, 1);
      (void)!read(ends[0], &byte, 1);
    }
  });
  EXPECT_GE(Calls(kAccount, SyscallClass::kBlocking), static_cast<uint64_t>(2 * kCalls));
  EXPECT_LT(Calls(kAccount, SyscallClass::kFile), 20u);
}

TEST_F(SyscallTest, ADescriptorThatWasAPipeAndBecomesAFileIsLookedAtAgain) {
  RunCharged([] {
    char byte = 0;
    for (int i = 0; i < kCalls; ++i) {
      int ends[2];
      if (pipe(ends) != 0) _exit(1);
      (void)!write(ends[1], &byte, 1);
      (void)!read(ends[0], &byte, 1);
      close(ends[0]);
      close(ends[1]);
      const int file = open("/proc/self/exe", O_RDONLY);  // takes the number that the pipe had
      if (file != ends[0]) _exit(2);
      (void)!read(file, &byte, 1);
      close(file);
    }
  });
  EXPECT_NEAR(static_cast<double>(Calls(kAccount, SyscallClass::kBlocking)), 2.0 * kCalls, 20);
  EXPECT_NEAR(static_cast<double>(Calls(kAccount, SyscallClass::kFile)), 5.0 * kCalls, 20);  // open, read, three closes
}

TEST_F(SyscallTest, OpeningMissingFilesCountsAsErrorsOfClassFile) {
  RunCharged([] {
    for (int i = 0; i < kCalls; ++i) (void)!open("/nowhere/at/all", O_RDONLY);
  });
  EXPECT_EQ(Errors(kAccount, SyscallClass::kFile), static_cast<uint32_t>(kCalls));
}

TEST_F(SyscallTest, AnAnswerThatSaysTryAgainIsNoError) {
  RunCharged([] {
    int ends[2];
    char byte;
    if (pipe2(ends, O_NONBLOCK) != 0) _exit(1);
    for (int i = 0; i < kCalls; ++i) (void)!read(ends[0], &byte, 1);
  });
  EXPECT_EQ(Errors(kAccount, SyscallClass::kBlocking), 0u);
  EXPECT_GE(Calls(kAccount, SyscallClass::kBlocking), static_cast<uint64_t>(kCalls));
}

TEST_F(SyscallTest, WhatAProcessMeasuredIsKeptWhenItEndsBetweenTwoTicks) {
  const pid_t parent = fork();
  if (parent == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    raise(SIGSTOP);
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < kCalls; ++i) (void)!open("/nowhere/at/all", O_RDONLY);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    raise(SIGSTOP);
    _exit(0);
  }
  waitpid(parent, nullptr, WUNTRACED);
  AssignTo(parent, kAccount);
  kill(parent, SIGCONT);
  waitpid(parent, nullptr, WUNTRACED);
  Tick();
  EXPECT_EQ(Errors(kAccount, SyscallClass::kFile), static_cast<uint32_t>(kCalls));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
}

TEST_F(SyscallTest, ACallThatHangsShowsItsAgeWhileItHangs) {
  // vfork holds its caller until the child executes or ends: a call of class process that hangs on demand.
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const pid_t inner = vfork();
    if (inner == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      pause();
      _exit(0);
    }
    _exit(0);
  }
  EXPECT_TRUE(TickUntil([&] { return Find(child) != nullptr && Find(child)->in_flight_ns > 300'000'000; }));
  ASSERT_NE(Find(child), nullptr);
  EXPECT_EQ(Find(child)->in_flight_class, static_cast<uint32_t>(SyscallClass::kProcess));
  EXPECT_EQ(Find(getpid())->in_flight_class, 0u) << "nothing of ours hangs";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(SyscallClasses, FutexWaitsBlockAndWakesDoNot) {
  EXPECT_EQ(FutexWaits() & 1, 1u);       // FUTEX_WAIT
  EXPECT_EQ(FutexWaits() >> 1 & 1, 0u);  // FUTEX_WAKE
}

}  // namespace
}  // namespace outlier
