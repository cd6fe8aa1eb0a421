// The texts of /proc/PID/{stat,schedstat,status,io}, taken apart. Pure functions over hostile bytes: a process chooses
// its own name, and it may hold spaces, parentheses and newlines.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace outlier {

struct ProcStat {
  int32_t pid = 0;
  std::string comm;
  char state = '?';
  int32_t parent_pid = 0;
  bool kernel_thread = false;
  uint64_t major_faults = 0;
  uint64_t cpu_ticks = 0;  // user + system, all threads that are and were
  uint32_t threads = 0;
  uint64_t start_ticks = 0;
  uint64_t rss_pages = 0;
  int32_t wait_status = 0;  // of a zombie, where the reader may see it; else 0
};
std::optional<ProcStat> ParseProcStat(std::string_view text);

struct ProcSchedule {  // of the thread that leads the process
  uint64_t cpu_ns = 0;
  uint64_t run_delay_ns = 0;
  uint64_t runs = 0;  // times it was put on a CPU
};
std::optional<ProcSchedule> ParseProcSchedule(std::string_view text);

struct ProcStatus {
  uint32_t user_id = 0;
  uint64_t rss_anonymous_bytes = 0;
  uint64_t rss_file_bytes = 0;
  uint64_t rss_shared_bytes = 0;
  uint64_t swap_bytes = 0;
  uint64_t voluntary_switches = 0;    // of the leading thread
  uint64_t involuntary_switches = 0;
};
ProcStatus ParseProcStatus(std::string_view text);

struct ProcIo {
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
};
ProcIo ParseProcIo(std::string_view text);

// The path that tells most of a process, of the lines of /proc/PID/cgroup: v2 where not the root, else name=systemd,
// memory, pids. `hierarchy` is "" for v2, else the controller. Both empty: root everywhere.
struct CgroupChoice {
  std::string hierarchy;
  std::string path;
};
CgroupChoice ChooseCgroup(std::string_view text);

// The number at the front of `text` after blanks, which is removed; 0 where there is none.
uint64_t TakeNumber(std::string_view* text);

// Up to `size` bytes of folder_fd/path into `buffer`; what was read, or nullopt (errno is set).
std::optional<std::string_view> ReadAt(int folder_fd, const char* path, char* buffer, size_t size);
// The same from the beginning of an open descriptor.
std::optional<std::string_view> ReadOpen(int fd, char* buffer, size_t size);

}  // namespace outlier
