// The two ways of scanning: by the kernel's list of tasks, and by number where there is no iterator over it or no room.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"

namespace outlier {
namespace {

class ScanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const KernelFeatures features = ProbeKernel();
    if (!features.missing.empty()) GTEST_SKIP() << features.missing.front();
    if (!features.lists_tasks) GTEST_SKIP() << "this kernel has no iterator over its list of tasks";
  }
  static std::unique_ptr<BpfProbeSet> Open(const KernelPrograms::Options& options) {
    std::vector<std::string> messages;
    auto opened = BpfProbeSet::Open({}, &messages, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(messages.empty()) << messages.front();
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  static bool ScansByNumber(const BpfProbeSet& probes) { return probes.states().front().reason().starts_with("scans by number"); }
};

const ProcessSample* Own(const TickInput& input) {
  const auto is_own = [](const ProcessSample& p) { return p.key.pid == getpid(); };
  const auto at = std::find_if(input.processes.begin(), input.processes.end(), is_own);
  return at == input.processes.end() ? nullptr : &*at;
}

// What does not change while a process sleeps.
std::vector<std::string> Described(const TickInput& input) {
  std::vector<std::string> lines;
  for (const ProcessSample& p : input.processes) {
    if (p.key.pid == getpid()) continue;
    lines.push_back(fmt::format("{} {} {} {} {} {} {} {}", p.key.pid, p.key.start_time_ns, p.parent_pid, p.user_id, p.threads,
                                p.kernel_thread, p.cgroup_id, p.comm));
  }
  return lines;
}

TEST_F(ScanTest, BothWaysShowTheSameProcesses) {
  const auto walk = Open({}), by_number = Open({.may_walk = false});
  ASSERT_TRUE(walk != nullptr && by_number != nullptr);
  EXPECT_FALSE(ScansByNumber(*walk));
  EXPECT_TRUE(ScansByNumber(*by_number));
  std::vector<std::string> walked, counted;
  for (int i = 0; i < 40 && (walked.empty() || walked != counted); ++i) {  // until nothing comes or goes between the two
    TickInput a, b;
    ASSERT_TRUE(walk->Collect(&a).ok());
    ASSERT_TRUE(by_number->Collect(&b).ok());
    walked = Described(a);
    counted = Described(b);
  }
  EXPECT_EQ(walked, counted);
}

TEST_F(ScanTest, BothWaysSumTheThreadsOfAProcess) {
  for (const bool may_walk : {true, false}) {
    const auto probes = Open({.may_walk = may_walk});
    ASSERT_NE(probes, nullptr);
    const auto own = [&] {
      TickInput input;
      EXPECT_TRUE(probes->Collect(&input).ok());
      const ProcessSample* at = Own(input);
      return at == nullptr ? ProcessSample() : *at;
    };
    const ProcessSample before = own();
    constexpr int kThreads = 3;
    constexpr uint64_t kEachNs = 40'000'000;
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([](std::stop_token stop) {
        timespec used{};
        while (static_cast<uint64_t>(used.tv_nsec) < kEachNs) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      });
    }
    ProcessSample after;
    for (int i = 0; i < 200 && after.cpu_ns < before.cpu_ns + kThreads * kEachNs; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      after = own();
    }
    EXPECT_GE(after.cpu_ns, before.cpu_ns + kThreads * kEachNs) << "walk: " << may_walk;
    EXPECT_GE(after.threads, static_cast<uint32_t>(kThreads) + 1) << "walk: " << may_walk;
  }
}

TEST_F(ScanTest, MoreProcessesThanAWalkHasRoomForAreCountedAndFromThenOnScannedByNumber) {
  const auto probes = Open({.scan_records = 4});
  ASSERT_NE(probes, nullptr);
  TickInput input;
  ASSERT_TRUE(probes->Collect(&input).ok());
  const auto is_full = [](const LossSample& loss) { return loss.name == "scan_full" && loss.count > 0; };
  EXPECT_TRUE(std::any_of(input.losses.begin(), input.losses.end(), is_full));
  EXPECT_TRUE(ScansByNumber(*probes));
  const ProcessSample* own = Own(input);
  ASSERT_NE(own, nullptr);
  EXPECT_FALSE(own->comm.empty());
}

}  // namespace
}  // namespace outlier
