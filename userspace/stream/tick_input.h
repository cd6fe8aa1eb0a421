// TickInput: everything the engine learns in one tick, and its only input. What is in here is observed, never computed;
// the recorder writes it before the engine sees it, so that a recording replays to the same bytes.
//
// Units: nanoseconds, bytes, counts. Counters are cumulative since the process began (process counters) or since the
// probes were attached (account counters); consumers subtract. Thread-safety: plain values.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "userspace/stream/syscall_class.h"

namespace outlier {

// One execution on this boot. `start_time_ns` is nanoseconds since boot, in units of the clock tick where only /proc is
// available. pid alone is reused; the pair is not.
struct ProcessKey {
  int32_t pid = 0;
  uint64_t start_time_ns = 0;
  auto operator<=>(const ProcessKey&) const = default;
  template <class Archive>
  void Serialize(Archive& a) { a(pid, start_time_ns); }
};

// A kernel-side slot that a workload's processes are charged to. The kernel lets children inherit their parent's.
using Account = uint32_t;
inline constexpr Account kUnattributedAccount = 0;  // what no workload owns
inline constexpr Account kKernelAccount = 1;        // kernel threads
inline constexpr Account kFirstWorkloadAccount = 2;
inline constexpr Account kMaxAccounts = 8192;       // further workloads are charged to kUnattributedAccount and counted

// The state of one living process at the tick.
struct ProcessSample {
  ProcessKey key;
  int32_t parent_pid = 0;
  uint32_t user_id = 0;
  uint32_t threads = 0;
  bool kernel_thread = false;
  uint64_t cgroup_id = 0;  // v2 id where not the root, else name=systemd, memory, pids (v1)
  uint64_t cpu_ns = 0;     // all threads, living and released
  uint64_t run_delay_ns = 0;
  uint64_t voluntary_switches = 0;
  uint64_t involuntary_switches = 0;
  uint64_t major_faults = 0;
  uint64_t read_bytes = 0;   // block I/O
  uint64_t write_bytes = 0;
  uint64_t rss_file_bytes = 0;
  uint64_t rss_anonymous_bytes = 0;
  uint64_t rss_shared_bytes = 0;
  uint64_t swap_bytes = 0;
  uint64_t in_flight_ns = 0;  // age of the oldest call in flight that is not of class blocking; 0 = none
  uint32_t in_flight_class = 0;
  std::string comm;           // any bytes
};

// What an account was charged since the probes were attached. All counters: monotone, every nanosecond in exactly one.
struct AccountSample {
  Account account = 0;
  uint64_t cpu_ns = 0;
  uint64_t run_delay_ns = 0;
  uint64_t voluntary_switches = 0;
  uint64_t involuntary_switches = 0;
  uint64_t major_faults = 0;
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
  uint64_t processes_started = 0;
  uint64_t processes_ended = 0;
  uint64_t exits_by_code = 0;    // ended with a non-zero status
  uint64_t exits_by_signal = 0;
  template <class Archive>
  void Serialize(Archive& a) {
    a(account, cpu_ns, run_delay_ns, voluntary_switches, involuntary_switches, major_faults, read_bytes, write_bytes,
      processes_started, processes_ended, exits_by_code, exits_by_signal);
  }
};

// Syscall durations of an account. Buckets wrap at 2^32: subtract as uint32_t.
struct AccountSyscalls {
  Account account = 0;
  // Bit c: class c may have changed since this account was told last. The others are not to be read: each is two hundred bytes
  // that nobody has in a cache, and a recording that begins after their last change does not know them. Neither recorded nor saved:
  // a recording shows what has changed.
  uint8_t changed = kEverySyscallClass;
  bool has_changed(int syscall_class) const { return (changed >> syscall_class & 1) != 0; }
  std::array<uint64_t, kSyscallClasses> duration_sum_ns{};
  std::array<uint32_t, kSyscallClasses> errors{};
  std::array<std::array<uint32_t, kDurationBuckets>, kSyscallClasses> buckets{};
  // Makes class `c` that of `from`.
  void TakeClass(int c, const AccountSyscalls& from) {
    duration_sum_ns[c] = from.duration_sum_ns[c];
    errors[c] = from.errors[c];
    buckets[c] = from.buckets[c];
  }
  template <class Archive>
  void Serialize(Archive& a) { a(account, duration_sum_ns, errors, buckets); }
};

enum class OomConstraint : uint8_t { kNone, kHost, kMemoryCgroup, kMemoryPlusSwapCgroup };

struct LifecycleEvent {
  enum class Kind : uint8_t {
    kExec,       // of a known executable, or by a known process
    kEnd,        // of a process known to user space, or one that failed
    kOomVictim,  // chosen by the OOM killer; its end follows
  };
  Kind kind = Kind::kExec;
  ProcessKey key;
  int32_t parent_pid = 0;
  Account account = 0;        // the account charged at that moment
  uint64_t time_ns = 0;       // since boot
  int32_t wait_status = 0;    // kEnd: as waitpid(2) gives it
  uint64_t cpu_ns = 0;        // kEnd: what the process used
  OomConstraint constraint = OomConstraint::kNone;
  uint64_t oom_limit_bytes = 0;
  int32_t oom_killer_pid = 0;  // kOomVictim: who hit the limit
  uint64_t cgroup_id = 0;
  std::string comm;
};

// What a look-up said of a process: /proc at the moment of the look-up, or the arguments the kernel saw at exec.
struct IdentityObservation {
  ProcessKey key;
  int32_t parent_pid = 0;
  uint32_t user_id = 0;
  bool exec = false;            // this process (re-)executed: an earlier answer no longer holds
  std::string cgroup_path;      // the deepest known, "" = root or unknown
  std::string executable;       // path; " (deleted)" stripped
  std::string script;           // path of the script when the executable is an interpreter; else empty
  std::string user;             // name, or the number as text
  uint64_t executable_inode = 0;
  uint64_t executable_size = 0;
  int64_t executable_mtime_ns = 0;
  std::string comm;
  std::string container_name;   // as its runtime or Kubernetes has it; "" = no container, or not known
  std::string pod;
  std::string pod_namespace;
  uint64_t memory_limit_bytes = 0;  // of its cgroup and those above it; 0 = none
};

struct HostSample {
  uint64_t cpu_ns = 0;               // kernel's own total over all tasks: root cpuacct.usage, else /proc/stat
  bool cpu_is_exact = false;         // from cpuacct
  uint32_t cpus = 0;
  uint64_t memory_total_bytes = 0;
  uint64_t memory_available_bytes = 0;
  uint64_t forks = 0;                // /proc/stat processes
  std::array<uint64_t, 3> pressure_some_us{};  // cpu, memory, io totals; 0 where there is no PSI
  bool has_pressure = false;
  template <class Archive>
  void Serialize(Archive& a) {
    a(cpu_ns, cpu_is_exact, cpus, memory_total_bytes, memory_available_bytes, forks, pressure_some_us, has_pressure);
  }
};

// Counted, never silently dropped. Cumulative. `name` is a stable snake_case word, see each probe.
struct LossSample {
  std::string name;
  uint64_t count = 0;
  template <class Archive>
  void Serialize(Archive& a) { a(name, count); }
};

struct Command {
  // kAbandon: the journal holds an open incident that the engine does not know (its state was lost): it is resolved.
  // kSource: who this host, boot and feed are, from here on.
  enum class Kind : uint8_t { kAcknowledge, kFalseAlarm, kUseful, kReload, kAbandon, kSource, kLast = kSource };
  Kind kind = Kind::kAcknowledge;
  std::string incident_id;
  std::string author;
  std::string incident;  // outlier.v1.Incident as the journal holds it, for incidents the engine has let go of
  std::string config;  // kReload: serialised outlier.config.v1.Config; kSource: outlier.v1.Source
};

struct TickInput {
  uint64_t tick = 0;             // 1, 2, 3 ... of this state folder; survives restarts of the daemon
  uint64_t boot_time_ns = 0;     // CLOCK_BOOTTIME when the samples were taken
  uint64_t interval_ns = 0;      // since the previous tick; 0 on the first of an epoch
  int64_t wall_time_ns = 0;      // Unix time of the same moment
  uint64_t epoch = 0;            // a new number whenever the probes were attached anew: account counters restart at 0
  std::string boot_id;
  std::vector<std::string> probes_missing;     // set on the first tick of an epoch, kept by the engine
  std::vector<ProcessSample> processes;        // ordered by key
  std::vector<AccountSample> accounts;         // ordered by account
  std::vector<AccountSyscalls> syscalls;       // ordered by account; only those that changed since the last tick
  std::vector<LifecycleEvent> events;          // in kernel order
  std::vector<IdentityObservation> identities; // look-ups answered since the last tick
  HostSample host;
  std::vector<LossSample> losses;              // ordered by name
  std::vector<Command> commands;
};

// The engine's answer to identities: charge this process, and the children it forks from now on, to `account`.
struct AccountAssignment {
  ProcessKey key;
  Account account = 0;
};

}  // namespace outlier
