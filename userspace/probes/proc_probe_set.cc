#include "userspace/probes/proc_probe_set.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/probes/host_sample.h"
#include "userspace/probes/proc_accounts.h"
#include "userspace/probes/proc_scanner.h"
#include "userspace/probes/proc_starts.h"

namespace outlier {
namespace {

constexpr rlim_t kMostDescriptors = 8192;
constexpr rlim_t kDescriptorsForOthers = 512;  // sockets, the journal, recordings

// As many as the limits leave, after raising the soft limit as far as it is needed: nothing here uses select(2), the one
// call that a larger limit could hurt.
size_t DescriptorsToKeep() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t wanted = std::min(limit.rlim_max, kMostDescriptors + kDescriptorsForOthers);
  if (limit.rlim_cur < wanted) {
    const rlimit raised = {wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = wanted;
  }
  return limit.rlim_cur > kDescriptorsForOthers ? std::min(limit.rlim_cur - kDescriptorsForOthers, kMostDescriptors) : 0;
}

v1::ProbeState State(const std::string& name, v1::ProbeState::State state, const std::string& reason, const std::string& blind_to) {
  v1::ProbeState result;
  result.set_name(name);
  result.set_state(state);
  result.set_reason(reason);
  result.set_blind_to(blind_to);
  return result;
}

class ProcProbeSet : public ProbeSet {
 public:
  ProcProbeSet(const config::v1::Probes& config, const std::string& proc_root)
      : config_(config), scanner_({proc_root, DescriptorsToKeep()}), accounts_(scanner_.proc_fd()), host_(proc_root), proc_root_(proc_root) {}

  absl::Status Collect(TickInput* input) override {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    input->boot_time_ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
    input->host = host_.Read();  // before the scan: see ProcStarts
    if (config_.tasks() != "off") {
      if (!scanner_.Scan(&input->processes)) return ErrnoStatus("list", proc_root_, errno);
      std::vector<LifecycleEvent> events;
      accounts_.Follow(input->processes, input->boot_time_ns, [this](const ProcessKey& key) { return scanner_.WaitStatusOf(key); }, &events);
      input->accounts = accounts_.Samples();
      starts_.Follow(input->host.forks, input->processes);
      if (config_.lifecycle() != "off") std::move(events.begin(), events.end(), std::back_inserter(input->events));
      ++scans_;
    }
    for (const LossSample& loss : {LossSample{"proc_read_failed", scanner_.failed_reads()}, LossSample{"starts_not_seen", starts_.not_seen()}}) {
      const auto place = std::lower_bound(input->losses.begin(), input->losses.end(), loss, [](const LossSample& a, const LossSample& b) { return a.name < b.name; });
      input->losses.insert(place, loss);
    }
    return absl::OkStatus();
  }

  void Assign(std::span<const AccountAssignment> assignments) override { accounts_.Assign(assignments); }

  std::vector<v1::ProbeState> states() const override {
    const bool tasks = config_.tasks() != "off", lifecycle = config_.lifecycle() != "off";
    std::vector<v1::ProbeState> states;
    states.push_back(tasks ? State("tasks", v1::ProbeState::DEGRADED, "polled from /proc, not from the kernel's task iterator",
                                   "processes that live less than one tick (starts_not_seen counts them); run delay and context switches of threads other than the first; "
                                   "bytes read and written by other users' processes; calls in flight")
                           : State("tasks", v1::ProbeState::OFF, "off by configuration", "CPU, memory, I/O of every process"));
    states.back().set_runs(scans_);
    states.push_back(lifecycle && tasks ? State("lifecycle", v1::ProbeState::DEGRADED, "guessed by comparing one listing of /proc with the last",
                                                "processes that live less than one tick (starts_not_seen counts them); exit codes and signals; OOM kills")
                                        : State("lifecycle", v1::ProbeState::OFF,
                                                lifecycle ? "needs the probe tasks, which is off by configuration" : "off by configuration",
                                                "starts, ends, exit codes, OOM kills"));
    states.push_back(config_.syscall_latency() == "off"
                         ? State("syscall_latency", v1::ProbeState::OFF, "off by configuration", "duration and errors of system calls")
                         : State("syscall_latency", v1::ProbeState::FAILED, "told by eBPF alone, which needs leave to load it and the probes tasks and lifecycle",
                                 "duration and errors of system calls"));
    return states;
  }
  std::string mode() const override { return "proc"; }
  uint64_t map_memory_bytes() const override { return 0; }
  double kernel_cpu_percent() const override { return 0; }

 private:
  const config::v1::Probes config_;
  ProcScanner scanner_;
  ProcAccounts accounts_;
  ProcStarts starts_;
  HostReader host_;
  const std::string proc_root_;
  uint64_t scans_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProbeSet>> OpenProcProbes(const config::v1::Config& config, std::vector<std::string>* messages, const std::string& proc_root) {
  if (config.probes().syscall_latency() == "on") {
    return absl::FailedPreconditionError(
        "probes.syscall_latency is \"on\", but durations of system calls need leave to load BPF, and there is only /proc; set it to auto to go on without");
  }
  if (absl::StatusOr<std::string> stat = ReadFile(proc_root + "/stat", 1 << 20); !stat.ok()) return stat.status();
  messages->push_back(
      "watching through /proc: no durations of system calls, no exit codes, and processes that live less than one tick are not seen, so that a "
      "service which fails at once whenever it is started raises no incident (starts_not_seen counts them)");
  if (access((proc_root + "/1/stat").c_str(), R_OK) != 0) {
    messages->push_back(fmt::format("{} hides other users' processes (hidepid): only one's own are watched", Printable(proc_root)));
  }
  return std::make_unique<ProcProbeSet>(config.probes(), proc_root);
}

}  // namespace outlier
