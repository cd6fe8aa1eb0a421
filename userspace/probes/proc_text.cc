#include "userspace/probes/proc_text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <limits>

namespace outlier {
namespace {

constexpr uint64_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD, unchanged since 2.6.27

std::string_view TakeLine(std::string_view* text) {
  const size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return line;
}

}  // namespace

uint64_t TakeNumber(std::string_view* text) {
  size_t i = 0;
  while (i < text->size() && ((*text)[i] == ' ' || (*text)[i] == '\t' || (*text)[i] == '-')) ++i;
  uint64_t value = 0;
  for (; i < text->size() && (*text)[i] >= '0' && (*text)[i] <= '9'; ++i) {
    value = value * 10 + static_cast<uint64_t>((*text)[i] - '0');
  }
  text->remove_prefix(i);
  return value;
}

std::optional<ProcStat> ParseProcStat(std::string_view text) {
  const size_t open = text.find('('), close = text.rfind(')');  // the last one: the name may hold others
  if (open == std::string_view::npos || close == std::string_view::npos || close < open || close + 3 >= text.size()) return std::nullopt;
  ProcStat stat;
  std::string_view head = text.substr(0, open);
  stat.pid = static_cast<int32_t>(TakeNumber(&head));
  stat.comm = std::string(text.substr(open + 1, close - open - 1));
  stat.state = text[close + 2];
  std::string_view rest = text.substr(close + 3);
  for (int field = 4; field <= 52; ++field) {  // numbered as in proc(5)
    if (rest.empty() || rest == "\n") {
      if (field <= 24) return std::nullopt;
      break;
    }
    const uint64_t value = TakeNumber(&rest);
    switch (field) {
      case 4: stat.parent_pid = static_cast<int32_t>(value); break;
      case 9: stat.kernel_thread = (value & kKernelThreadFlag) != 0; break;
      case 12: stat.major_faults = value; break;
      case 14: stat.cpu_ticks = value; break;
      case 15: stat.cpu_ticks += value; break;
      case 20: stat.threads = static_cast<uint32_t>(value); break;
      case 22: stat.start_ticks = value; break;
      case 24: stat.rss_pages = value; break;
      case 52: stat.wait_status = static_cast<int32_t>(value); break;
      default: break;
    }
    // A field that is no number at all would be read for ever.
    if (!rest.empty() && rest[0] != ' ' && rest[0] != '\n') return std::nullopt;
  }
  return stat;
}

std::optional<ProcSchedule> ParseProcSchedule(std::string_view text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  ProcSchedule schedule;
  schedule.cpu_ns = TakeNumber(&text);
  schedule.run_delay_ns = TakeNumber(&text);
  schedule.runs = TakeNumber(&text);
  return schedule;
}

ProcStatus ParseProcStatus(std::string_view text) {
  ProcStatus status;
  while (!text.empty()) {
    std::string_view line = TakeLine(&text);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon);
    line.remove_prefix(colon + 1);
    if (key == "Uid") status.user_id = static_cast<uint32_t>(TakeNumber(&line));
    else if (key == "RssAnon") status.rss_anonymous_bytes = TakeNumber(&line) * 1024;
    else if (key == "RssFile") status.rss_file_bytes = TakeNumber(&line) * 1024;
    else if (key == "RssShmem") status.rss_shared_bytes = TakeNumber(&line) * 1024;
    else if (key == "VmSwap") status.swap_bytes = TakeNumber(&line) * 1024;
    else if (key == "voluntary_ctxt_switches") status.voluntary_switches = TakeNumber(&line);
    else if (key == "nonvoluntary_ctxt_switches") status.involuntary_switches = TakeNumber(&line);
  }
  return status;
}

ProcIo ParseProcIo(std::string_view text) {
  ProcIo io;
  while (!text.empty()) {
    std::string_view line = TakeLine(&text);
    if (line.substr(0, 11) == "read_bytes:") {
      line.remove_prefix(11);
      io.read_bytes = TakeNumber(&line);
    } else if (line.substr(0, 12) == "write_bytes:") {
      line.remove_prefix(12);
      io.write_bytes = TakeNumber(&line);
    }
  }
  return io;
}

CgroupChoice ChooseCgroup(std::string_view text) {
  static constexpr std::string_view kOrder[] = {"", "name=systemd", "memory", "pids"};
  CgroupChoice best;
  size_t best_rank = std::size(kOrder);
  while (!text.empty()) {
    const std::string_view line = TakeLine(&text);
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view path = line.substr(second + 1);
    if (path.size() < 2 || path[0] != '/') continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty() && line.substr(0, first) != "0") continue;
    for (;;) {  // "cpu,cpuacct" is one hierarchy of two controllers
      const size_t comma = controllers.find(',');
      const std::string_view name = controllers.substr(0, comma);
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (kOrder[rank] != name) continue;
        best_rank = rank;
        best = {std::string(name), std::string(path)};
      }
      if (comma == std::string_view::npos) break;
      controllers.remove_prefix(comma + 1);
    }
  }
  return best;
}

std::optional<std::string_view> ReadOpen(int fd, char* buffer, size_t size) {
  size_t used = 0;
  while (used < size) {
    const ssize_t n = pread(fd, buffer + used, size - used, static_cast<off_t>(used));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    used += static_cast<size_t>(n);
    // /proc gives a short text whole; only a full page may have more behind it.
    if (n == 0 || used < 1024) break;
  }
  return std::string_view(buffer, used);
}

std::optional<std::string_view> ReadAt(int folder_fd, const char* path, char* buffer, size_t size) {
  const int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  const auto text = ReadOpen(fd, buffer, size);
  const int error = errno;
  close(fd);
  errno = error;
  return text;
}

}  // namespace outlier
