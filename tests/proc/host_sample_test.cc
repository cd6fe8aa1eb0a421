#include "userspace/probes/host_sample.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/proc/fake_proc.h"

namespace outlier {
namespace {

TEST(HostSample, WithoutCpuAccountingTheSampledTicksCountWithoutStealGuestAndIdle) {
  FakeProc proc;
  HostReader reader(proc.root());
  const HostSample host = reader.Read();
  EXPECT_FALSE(host.cpu_is_exact);
  EXPECT_EQ(host.cpu_ns, (100u + 10 + 50 + 3 + 2) * (1'000'000'000u / static_cast<uint64_t>(sysconf(_SC_CLK_TCK))));
  EXPECT_EQ(host.cpus, 2u);
  EXPECT_EQ(host.forks, 4321u);
  EXPECT_FALSE(host.has_pressure);
  EXPECT_EQ(host.memory_total_bytes, 0u);
}

TEST(HostSample, TheKernelsOwnTotalIsUsedWhereItsRootIsMounted) {
  FakeProc proc;
  proc.Write("acct/cpuacct.usage", "123456789\n");
  proc.Write("part/cpuacct.usage", "5\n");
  proc.Write("self/mountinfo", "30 1 0:1 /docker/abc " + proc.root() + "/part rw - cgroup cgroup rw,cpu,cpuacct\n" +
                                   "31 1 0:1 / " + proc.root() + "/acct rw,nosuid shared:7 master:1 - cgroup cgroup rw,cpu,cpuacct\n");
  proc.Write("meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n");
  proc.Write("pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=777\nfull avg10=0 avg60=0 avg300=0 total=5\n");
  HostReader reader(proc.root());
  HostSample host = reader.Read();
  EXPECT_TRUE(host.cpu_is_exact);
  EXPECT_EQ(host.cpu_ns, 123456789u);
  EXPECT_EQ(host.memory_total_bytes, 2048u * 1024);
  EXPECT_EQ(host.memory_available_bytes, 1024u * 1024);
  EXPECT_TRUE(host.has_pressure);
  EXPECT_EQ(host.pressure_some_us, (std::array<uint64_t, 3>{0, 777, 0}));
  proc.Write("acct/cpuacct.usage", "223456789\n");
  EXPECT_EQ(reader.Read().cpu_ns, 223456789u);
}

TEST(HostSample, ThisHostsOwnTotalsGrowAndFit) {
  HostReader reader;
  const HostSample before = reader.Read();
  volatile uint64_t sum = 0;
  HostSample after = reader.Read();
  for (int i = 0; i < 10'000 && after.cpu_ns == before.cpu_ns; ++i) {
    for (int k = 0; k < 1'000'000; ++k) sum = sum + static_cast<uint64_t>(k);
    after = reader.Read();
  }
  EXPECT_GT(after.cpu_ns, before.cpu_ns);
  EXPECT_EQ(after.cpus, static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  EXPECT_GT(after.memory_total_bytes, after.memory_available_bytes);
  EXPECT_GT(after.forks, 0u);
}

}  // namespace
}  // namespace outlier
