#include "userspace/pipeline/overhead.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "userspace/base/file.h"

namespace outlier {

void OverheadMeter::Measure(uint64_t boot_time_ns) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& t) { return t.tv_sec * uint64_t{1'000'000'000} + t.tv_usec * uint64_t{1000}; };
  const uint64_t cpu_ns = ns(usage.ru_utime) + ns(usage.ru_stime);
  if (last_time_ns_ != 0 && boot_time_ns > last_time_ns_) {
    const double percent = 100.0 * (cpu_ns - last_cpu_ns_) / (boot_time_ns - last_time_ns_);
    measured_ += 1;
    cpu_percent_ += (percent - cpu_percent_) / std::min<uint32_t>(measured_, 60);
  }
  last_time_ns_ = boot_time_ns;
  last_cpu_ns_ = cpu_ns;
  if (const auto statm = ReadFile("/proc/self/statm", 4096); statm.ok()) {
    unsigned long pages = 0;
    if (std::sscanf(statm->c_str(), "%*u %lu", &pages) == 1) resident_ = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
}

}  // namespace outlier
