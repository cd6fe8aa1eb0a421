// The two ways of scanning: by the kernel's list of tasks, and by number where there is no iterator over it or no room.
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

// What does not change while a process sleeps.
std::vector<std::string> Described(const TickInput& input) {
  std::vector<std::string> lines;
  for (const ProcessSample& p : input.processes) {
    if (p.key.pid == getpid()) continue;
    std::string line;
    for (const uint64_t part : {static_cast<uint64_t>(p.key.pid), p.key.start_time_ns, static_cast<uint64_t>(p.parent_pid),
                                static_cast<uint64_t>(p.user_id), static_cast<uint64_t>(p.threads), static_cast<uint64_t>(p.kernel_thread), p.cgroup_id}) {
      line += std::to_string(part) + " ";
    }
    lines.push_back(line + p.comm);
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
      const auto at = std::find_if(input.processes.begin(), input.processes.end(), [](const ProcessSample& p) { return p.key.pid == getpid(); });
      return at == input.processes.end() ? ProcessSample() : *at;
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
  EXPECT_TRUE(std::any_of(input.losses.begin(), input.losses.end(), [](const LossSample& loss) { return loss.name == "scan_full" && loss.count > 0; }));
  EXPECT_TRUE(ScansByNumber(*probes));
  EXPECT_TRUE(std::any_of(input.processes.begin(), input.processes.end(), [](const ProcessSample& p) { return p.key.pid == getpid() && !p.comm.empty(); }));
}

}  // namespace
}  // namespace outlier
