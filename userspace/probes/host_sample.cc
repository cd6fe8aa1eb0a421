#include "userspace/probes/host_sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "userspace/base/file.h"
#include "userspace/probes/proc_text.h"

namespace outlier {
namespace {

int Open(const std::string& path) { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = line.find(' ');
    if (end != 0) words.push_back(line.substr(0, end));
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  }
  return words;
}

// Calls line(text) for each line of what is open at fd.
template <class F>
bool ForEachLine(int fd, F&& line) {
  static constexpr size_t kMost = 1 << 18;  // /proc/stat has a word a hardware interrupt
  if (fd < 0) return false;
  std::string buffer(kMost, '\0');
  const auto text = ReadOpen(fd, buffer.data(), buffer.size());
  if (!text) return false;
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = rest.find('\n');
    line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return true;
}

uint64_t KiB(std::string_view rest) { return TakeNumber(&rest) * 1024; }

}  // namespace

HostReader::HostReader(const std::string& proc_root)
    : cpu_accounting_(OpenCpuAccounting(proc_root)),
      stat_(Open(proc_root + "/stat")),
      memory_(Open(proc_root + "/meminfo")),
      pressure_{Open(proc_root + "/pressure/cpu"), Open(proc_root + "/pressure/memory"), Open(proc_root + "/pressure/io")} {
  const long ticks = sysconf(_SC_CLK_TCK);
  if (ticks > 0) clock_tick_ns_ = 1'000'000'000 / static_cast<uint64_t>(ticks);
}

HostReader::~HostReader() {
  for (const int fd : {cpu_accounting_, stat_, memory_, pressure_[0], pressure_[1], pressure_[2]}) {
    if (fd >= 0) close(fd);
  }
}

int HostReader::OpenCpuAccounting(const std::string& proc_root) const {
  const absl::StatusOr<std::string> mounts = ReadFile(proc_root + "/self/mountinfo", 4 << 20);
  if (!mounts.ok()) return -1;
  for (std::string_view rest = *mounts; !rest.empty();) {
    const size_t end = rest.find('\n');
    const std::vector<std::string_view> words = Words(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    // id parent device root mountpoint options [optional fields] - type source superoptions
    size_t dash = 6;
    while (dash < words.size() && words[dash] != "-") ++dash;
    if (dash + 3 >= words.size() || words[dash + 1] != "cgroup") continue;
    if (words[3] != "/") continue;  // a container sees its own part only: that is not the host's total
    const std::string options = "," + std::string(words[dash + 3]) + ",";
    if (options.find(",cpuacct,") == std::string::npos) continue;
    const int fd = Open(std::string(words[4]) + "/cpuacct.usage");
    if (fd >= 0) return fd;
  }
  return -1;
}

HostSample HostReader::Read() {
  HostSample host;
  uint64_t sampled_ticks = 0;
  ForEachLine(stat_, [&](std::string_view line) {
    if (line.substr(0, 4) == "cpu ") {
      line.remove_prefix(4);
      uint64_t fields[7];
      for (uint64_t& field : fields) field = TakeNumber(&line);
      // user nice system [idle iowait] irq softirq; steal was another guest's, guest is inside user already.
      sampled_ticks = fields[0] + fields[1] + fields[2] + fields[5] + fields[6];
    } else if (line.substr(0, 3) == "cpu") {
      ++host.cpus;
    } else if (line.substr(0, 10) == "processes ") {
      line.remove_prefix(10);
      host.forks = TakeNumber(&line);
    }
  });
  ForEachLine(cpu_accounting_, [&](std::string_view line) {
    host.cpu_ns = TakeNumber(&line);
    host.cpu_is_exact = host.cpu_ns != 0;
  });
  if (!host.cpu_is_exact) host.cpu_ns = sampled_ticks * clock_tick_ns_;
  ForEachLine(memory_, [&](std::string_view line) {
    if (line.substr(0, 9) == "MemTotal:") host.memory_total_bytes = KiB(line.substr(9));
    if (line.substr(0, 13) == "MemAvailable:") host.memory_available_bytes = KiB(line.substr(13));
  });
  for (int i = 0; i < 3; ++i) {
    const bool read = ForEachLine(pressure_[i], [&](std::string_view line) {
      const size_t total = line.find("total=");
      if (line.substr(0, 5) != "some " || total == std::string_view::npos) return;
      line.remove_prefix(total + 6);
      host.pressure_some_us[i] = TakeNumber(&line);
    });
    host.has_pressure = host.has_pressure || read;
  }
  return host;
}

}  // namespace outlier
