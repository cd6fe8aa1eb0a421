// HostReader: the host's own totals, once a tick. Works as an ordinary user. Not thread-safe; bounded reads, kept
// descriptors.
#pragma once
#include <string>

#include "userspace/stream/tick_input.h"

namespace outlier {

class HostReader {
 public:
  // `proc_root` is "/proc"; tests bring their own.
  explicit HostReader(const std::string& proc_root = "/proc");
  ~HostReader();
  HostReader(const HostReader&) = delete;
  HostReader& operator=(const HostReader&) = delete;

  // What cannot be read is 0. cpu_ns comes from the root cpuacct.usage, which counts every nanosecond of every task
  // (cpu_is_exact); else from /proc/stat, which is sampled at the timer tick (about 1 % over 10 s). The v2 root's cpu.stat
  // is the same sampled number, so it is not asked.
  HostSample Read();

 private:
  int OpenCpuAccounting(const std::string& proc_root) const;
  int cpu_accounting_ = -1;
  int stat_ = -1;
  int memory_ = -1;
  int pressure_[3] = {-1, -1, -1};
  uint64_t clock_tick_ns_ = 10'000'000;
};

}  // namespace outlier
