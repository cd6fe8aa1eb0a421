// The probes on eBPF: one scan a tick plus what the lifecycle and syscall programs gathered meanwhile.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "userspace/loader/kernel_programs.h"
#include "userspace/probes/host_sample.h"
#include "userspace/probes/probe.h"
#include "userspace/probes/self_timing.h"
#include "userspace/probes/tasks.h"
#include "userspace/stream/probe_set.h"

namespace outlier {

// One line of probes.def.
struct ProbeSpec {
  std::string name;
  bool required = false;  // for eBPF mode
  std::string oldest_kernel;
  std::string lost_without;
  std::string blind_to;
  std::unique_ptr<Probe> (*make)() = nullptr;
};
const std::vector<ProbeSpec>& ProbeSpecs();

// What the configuration says of a probe: "auto", "on" or "off"; "auto" where it has no key.
std::string ProbeSetting(const config::v1::Probes& config, const std::string& probe);

// Needs privileges to open, none afterwards except for SelfTiming, which goes without where refused.
class BpfProbeSet : public ProbeSet {
 public:
  // FAILED_PRECONDITION: a required probe, or one whose setting is "on", cannot be loaded; says which and why.
  // `messages` gains a sentence for each thing that is missing. Of `options`, what is said of probes and calls is set here.
  static absl::StatusOr<std::unique_ptr<BpfProbeSet>> Open(const config::v1::Probes& config, std::vector<std::string>* messages,
                                                           KernelPrograms::Options options = {});

  absl::Status Collect(TickInput* input) override;
  void Assign(std::span<const AccountAssignment> assignments) override;
  std::vector<v1::ProbeState> states() const override;
  std::string mode() const override { return "ebpf"; }
  uint64_t map_memory_bytes() const override;
  double kernel_cpu_percent() const override;
  // In the order of ProbeSpecs(); those that do not run too.
  std::span<const std::unique_ptr<Probe>> probes() const { return probes_; }

 private:
  BpfProbeSet(std::unique_ptr<KernelPrograms> kernel, std::vector<std::string> off);
  void CollectAccounts(TickInput* input);
  void CollectLosses(TickInput* input) const;
  void ForgetEnded(const std::vector<ProcessSample>& processes);

  std::unique_ptr<KernelPrograms> kernel_;
  const std::vector<std::string> off_;  // by configuration
  SelfTiming timing_;
  HostReader host_;
  std::vector<std::unique_ptr<Probe>> probes_;
  std::vector<outlier_process> records_;
  RecordCompleter completer_;
  struct Assigned {
    int unseen_scans = 0;
  };
  absl::btree_map<ProcessKey, Assigned> assigned_;  // what the kernel's map holds, but for ends it saw itself
  Account highest_account_ = kKernelAccount;
  uint64_t assign_failed_ = 0;
  std::vector<bool> has_syscalls_ = std::vector<bool>(OUTLIER_ACCOUNTS, false);
  uint64_t threads_ = 0, threaded_ = 0, processes_ = 0, allocated_syscalls_ = 0;
  uint64_t scans_ = 0, scan_ns_ = 0;
};

}  // namespace outlier
