// KernelPrograms: the BPF object of this agent, loaded, attached and read. Owns everything that libbpf hands out.
//
// Loading and attaching need privileges; after that every method works on descriptors and shared memory alone.
// Thread-safety: one thread, except Statistics(), which any thread may call.
#pragma once
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bpf/abi.h"

namespace outlier {

struct ProgramStatistics {
  std::string name;  // PROBE_something
  uint64_t runs = 0;  // since load, counted only while statistics were enabled
  uint64_t run_ns = 0;
};

class KernelPrograms {
 public:
  struct Options {
    std::vector<std::string> probes{};  // by name; the first to be listed are the last to be given up
    std::array<uint8_t, OUTLIER_SYSCALLS> syscall_table{};
    uint64_t futex_waits = 0;         // bit mask of futex operations
    bool may_walk = true;             // false: scan by number, as on kernels without an iterator over their list of tasks
    uint32_t scan_records = OUTLIER_SCAN_RECORDS;  // processes that a walk has room for
  };

  // Loads and attaches what the kernel accepts of the wanted probes. A probe that it refuses is in refused() with the
  // reason, and the rest goes on; an error only where nothing could be loaded.
  static absl::StatusOr<std::unique_ptr<KernelPrograms>> Load(const Options& options);
  ~KernelPrograms();
  KernelPrograms(const KernelPrograms&) = delete;
  KernelPrograms& operator=(const KernelPrograms&) = delete;

  const std::map<std::string, std::string>& refused() const { return refused_; }  // probe -> why
  const std::vector<std::string>& notes() const { return notes_; }                // parts of a probe that are missing
  bool runs(const std::string& probe) const;

  // Whether the scan goes by the kernel's list of tasks; else by number, at three times the cost.
  bool walks() const { return walks_; }
  // One scan: a record of every living process, threads summed, in kernel order.
  absl::Status Scan(std::vector<outlier_process>* processes);
  // Shared memory: reads what the kernel has now.
  std::span<const outlier_account, OUTLIER_ACCOUNTS> accounts() const;
  // False if the account has none.
  bool ReadSyscalls(uint32_t account, outlier_syscalls* syscalls) const;
  // Hands over every event that waits; the bytes hold an outlier_event and what follows it.
  void ReadEvents(const std::function<void(std::span<const std::byte>)>& take);
  absl::Status Assign(int32_t tgid, const outlier_assignment& assignment);
  // Forgets an assignment whose process ended without its end having been seen; another execution's stays.
  void Unassign(int32_t tgid, uint64_t start_time_ns);
  // Starts of this program are told from now on, however short they live. `device` as stat(2) gives it.
  void KnowExecutable(uint64_t inode, dev_t device);
  // Sum over CPUs of entry 0 of a per-CPU array of __u64; 0 if there is none of this name.
  uint64_t Sum(const std::string& map) const;
  // By OUTLIER_FAILURE_*, summed over CPUs.
  std::array<uint64_t, OUTLIER_FAILURES> failures() const;
  // Thread exits whose release was never shown, of scans long past; cumulative.
  uint64_t frees_never_seen() const { return static_cast<uint64_t>(frees_missing_ > 0 ? frees_missing_ : 0); }

  std::vector<ProgramStatistics> Statistics() const;
  // Maps, task storage and hash elements as the slab allocator holds them. `allocated_syscalls`: accounts beyond
  // OUTLIER_MAPPED_ACCOUNTS that have histograms.
  uint64_t MemoryBytes(uint64_t threads, uint64_t processes, uint64_t threaded_processes, uint64_t allocated_syscalls,
                       uint64_t assigned) const;

 private:
  struct Skeleton;
  KernelPrograms();
  absl::Status Attach();
  void FindPercpuOffsets();
  absl::Status ScanPass(std::vector<outlier_process>* processes);
  absl::Status Walk(std::vector<outlier_process>* processes);
  void SettleEpoch();
  void Refuse(const std::string& probe, const std::string& reason);

  std::unique_ptr<Skeleton> skeleton_;
  std::map<std::string, std::string> refused_;
  std::vector<std::string> notes_;
  std::vector<std::string> running_;
  int cpus_ = 0;
  bool walks_ = false;
  int64_t frees_missing_ = 0;
  std::function<void(std::span<const std::byte>)> take_;
  std::vector<std::byte> buffer_;
};

// While it lives, the kernel times every BPF program of the host (about 45 ns a run): hold it briefly.
class StatisticsWindow {
 public:
  static std::optional<StatisticsWindow> Open();  // nullopt without CAP_SYS_ADMIN
  StatisticsWindow(StatisticsWindow&& other) noexcept;
  ~StatisticsWindow();

 private:
  explicit StatisticsWindow(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace outlier
