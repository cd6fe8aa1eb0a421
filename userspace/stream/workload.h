// WorkloadTick: one tick's input summed to the workloads that own it. A slot is a workload's dense index and the kernel
// account its processes are charged to.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/stream/proto_archive.h"
#include "userspace/stream/syscall_class.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

using Slot = Account;
inline constexpr Slot kUnattributedSlot = kUnattributedAccount;
inline constexpr Slot kKernelSlot = kKernelAccount;
inline constexpr Slot kHostSlot = 2;       // host-wide signals; owns no process
inline constexpr Slot kFirstOwnedSlot = 3;

// What one workload did in one tick. Counters are differences over the tick, gauges are values at its end.
struct WorkloadTotals {
  bool observed = false;   // has a living process, or did something
  bool born = false;       // the slot was given to a new workload at this tick
  Slot sibling = 0;        // where it was: a workload that runs the same program and has for longer; 0 = none is known
  bool has_rates = false;  // differences are valid (not the first tick of an epoch)
  AccountSample delta;
  AccountSyscalls syscalls;
  uint32_t processes = 0;
  uint32_t threads = 0;
  uint64_t memory_bytes = 0;
  uint64_t anonymous_bytes = 0;
  uint64_t swap_bytes = 0;
  uint64_t memory_limit_bytes = 0;  // of its cgroup, as last looked up; 0 = none
  uint64_t in_flight_ns = 0;
  double uptime_seconds = 0;  // of the main process; 0 when there is none
  uint32_t restarts = 0;
  uint32_t oom_kills = 0;
};

// A death or restart, explained. Told without a baseline.
struct RestartFact {
  Slot slot = 0;
  v1::Restart::Cause cause = v1::Restart::CAUSE_UNSPECIFIED;
  int32_t exit_code = 0;
  int32_t signal = 0;
  uint32_t count = 0;        // restarts (child kills for CHILD_OUT_OF_MEMORY) within the last hour
  uint64_t time_ns = 0;      // since boot: when the process ended
  uint64_t previous_uptime_ns = 0;
  ProcessKey process;
  std::string detail;        // a sentence: limit, constraint, what changed
  bool told = false;         // worth an incident, as opposed to a rollout, a scheduled job or an orderly exit
};

struct ProcessRate {         // a process whose use of CPU matters as evidence against it
  ProcessKey key;
  Slot slot = 0;
  double cpu_now = 0;        // cores, over the last few seconds
  double cpu_before = 0;     // cores, its own longer past
  std::string name;          // executable, or comm
};

struct NamedWorkload {
  std::string key;        // identity, stable across restarts of everything
  v1::Workload workload;
  template <class Archive>
  void Serialize(Archive& a) {
    a(key);
    SerializeMessage(a, workload);
  }
};

struct WorkloadTick {
  uint64_t tick = 0;
  uint64_t boot_time_ns = 0;
  int64_t wall_time_ns = 0;
  double interval_seconds = 0;
  std::vector<WorkloadTotals> totals;      // by slot
  std::vector<std::pair<Slot, NamedWorkload>> named;  // slots whose name or description is new at this tick
  std::vector<RestartFact> restarts;       // in order of time
  std::vector<ProcessRate> busiest;        // by gain in CPU, largest first, at most 8
  HostSample host;
  HostSample host_before;                  // the tick before; equal to host on the first one of an epoch
  uint64_t events_lost = 0;                // cumulative
  std::vector<std::string> probes_missing;
  std::vector<Command> commands;
};

}  // namespace outlier
