// ProcScanner: every living process from /proc, cheaply enough for thousands of them once a tick. Works as an ordinary
// user. Not thread-safe.
//
// A process whose leading thread has not run since the last scan, and that has no other thread, is not read again but
// for one small pread: nothing of it can have changed except what memory reclaim took, and that is seen every 16th scan;
// a move to another cgroup every 64th, and at once when a program is executed. The longest text, `status`, is not read of a
// process of one thread and unchanged size that ran at most twice: its switches are then counted from its runs, as voluntary
// ones, and set right every 16th scan.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

class ProcScanner {
 public:
  struct Options {
    std::string proc_root = "/proc";
    // Descriptors kept open, one a process, spare a path walk a tick each. The kernel keeps about 5 KiB for each.
    size_t max_descriptors = 0;
  };
  explicit ProcScanner(Options options);
  ~ProcScanner();
  ProcScanner(const ProcScanner&) = delete;
  ProcScanner& operator=(const ProcScanner&) = delete;

  // Ordered by key. Processes that have ended and wait for their parent (zombies) are not living. False: /proc itself
  // cannot be listed.
  bool Scan(std::vector<ProcessSample>* out);

  // How a process that the last Scan saw as a zombie ended, as waitpid(2) gives it; 0 where that may not be seen.
  int32_t WaitStatusOf(const ProcessKey& key) const;
  // Processes listed but not readable for another reason than having ended. Cumulative.
  uint64_t failed_reads() const { return failed_reads_; }
  int proc_fd() const { return proc_fd_; }

 private:
  struct Entry {
    ProcessSample sample;
    uint64_t schedule_cpu_ns = 0;
    uint64_t runs = 0;
    uint64_t rss_pages = 0;
    int schedule_fd = -1;
    bool ended = false;       // a zombie: kept until its pid is gone, so that it ends once
    bool io_refused = false;
  };
  enum class Outcome { kLiving, kEnded, kGone };
  Outcome Read(int32_t pid, Entry* entry);
  bool SleptThroughout(Entry* entry);
  bool ItsTurn(int32_t pid, uint64_t every) const { return (scans_ + static_cast<uint64_t>(pid)) % every == 0; }
  void ReadStatus(int32_t pid, Entry* entry);
  void ReadIo(int32_t pid, Entry* entry);
  uint64_t CgroupIdOf(int32_t pid);
  void OpenCgroupMounts();
  void Forget(Entry* entry);
  bool ListPids();

  const Options options_;
  int proc_fd_ = -1;
  uint64_t clock_tick_ns_ = 10'000'000;
  uint64_t page_bytes_ = 4096;
  uint64_t scans_ = 0;
  size_t descriptors_ = 0;
  uint64_t failed_reads_ = 0;
  std::vector<int32_t> pids_;
  std::vector<Entry> entries_, next_;  // ordered by pid
  std::map<std::string, std::string> cgroup_mounts_;  // hierarchy ("" = v2) -> mount point
  std::map<std::string, uint64_t> cgroup_ids_;        // hierarchy:path -> directory inode
  std::map<ProcessKey, int32_t> wait_statuses_;       // of the last scan
  std::string buffer_;
};

}  // namespace outlier
