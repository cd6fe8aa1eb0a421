#include "userspace/probes/bpf_probe_set.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "userspace/probes/syscall_classes.h"

namespace outlier {
namespace {

uint64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

#define OUTLIER_PROBE(name, required, oldest, lost, blind) \
  namespace probes::name {                                 \
  std::unique_ptr<Probe> Make();                           \
  }
#include "userspace/probes/probes.def"
#undef OUTLIER_PROBE

const std::vector<ProbeSpec>& ProbeSpecs() {
  static const auto* specs = new std::vector<ProbeSpec>{
#define OUTLIER_PROBE(name, required, oldest, lost, blind) {#name, required, oldest, lost, blind, &probes::name::Make},
#include "userspace/probes/probes.def"
#undef OUTLIER_PROBE
  };
  return *specs;
}

std::string ProbeSetting(const config::v1::Probes& config, const std::string& probe) {
  const auto* field = config::v1::Probes::descriptor()->FindFieldByName(probe);
  const std::string value = field == nullptr ? "" : config.GetReflection()->GetString(config, field);
  return value.empty() ? "auto" : value;
}

absl::StatusOr<std::unique_ptr<BpfProbeSet>> BpfProbeSet::Open(const config::v1::Probes& config,
                                                               std::vector<std::string>* messages, KernelPrograms::Options options) {
  options.probes.clear();
  options.syscall_table = SyscallTable();
  options.futex_waits = FutexWaits();
  std::vector<std::string> off;
  for (const ProbeSpec& spec : ProbeSpecs()) {
    const bool is_off = ProbeSetting(config, spec.name) == "off";
    if (is_off && spec.required) {
      return absl::FailedPreconditionError(fmt::format("probes.{} is off, and eBPF mode needs it", spec.name));
    }
    (is_off ? off : options.probes).push_back(spec.name);
  }
  auto kernel = KernelPrograms::Load(options);
  if (!kernel.ok()) return kernel.status();
  for (const ProbeSpec& spec : ProbeSpecs()) {
    const auto refused = (*kernel)->refused().find(spec.name);
    if (refused == (*kernel)->refused().end()) continue;
    if (spec.required || ProbeSetting(config, spec.name) == "on") {
      return absl::FailedPreconditionError(fmt::format("probe {} cannot be loaded: {}", spec.name, refused->second));
    }
    messages->push_back(fmt::format("probe {} is off: {}; lost: {}", spec.name, refused->second, spec.lost_without));
  }
  for (const std::string& note : (*kernel)->notes()) messages->push_back(note);
  return std::unique_ptr<BpfProbeSet>(new BpfProbeSet(std::move(*kernel), std::move(off)));
}

BpfProbeSet::BpfProbeSet(std::unique_ptr<KernelPrograms> kernel, std::vector<std::string> off)
    : kernel_(std::move(kernel)), off_(std::move(off)), timing_(*kernel_) {
  for (const ProbeSpec& spec : ProbeSpecs()) probes_.push_back(spec.make());
}

absl::Status BpfProbeSet::Collect(TickInput* input) {
  timing_.Start();
  const uint64_t begin = ClockNs(CLOCK_MONOTONIC);
  if (absl::Status status = kernel_->Scan(&records_); !status.ok()) return status;
  scan_ns_ += ClockNs(CLOCK_MONOTONIC) - begin;
  ++scans_;
  input->boot_time_ns = ClockNs(CLOCK_BOOTTIME);
  CollectAccounts(input);
  input->host = host_.Read();
  OrderRecords(&records_);
  completer_.Complete(&records_);
  for (size_t i = 0; i < probes_.size(); ++i) {
    if (kernel_->runs(ProbeSpecs()[i].name)) probes_[i]->Collect({*kernel_, records_}, input);
  }
  ForgetEnded(input->processes);
  threads_ = threaded_ = processes_ = 0;
  for (const ProcessSample& sample : input->processes) {
    threads_ += sample.threads;
    threaded_ += sample.threads > 1 ? 1 : 0;
    processes_ += sample.kernel_thread ? 0 : 1;
  }
  for (const AccountSyscalls& syscalls : input->syscalls) {
    if (syscalls.account >= OUTLIER_MAPPED_ACCOUNTS && !has_syscalls_[syscalls.account]) ++allocated_syscalls_;
    has_syscalls_[syscalls.account] = true;
  }
  CollectLosses(input);
  return absl::OkStatus();
}

void BpfProbeSet::CollectAccounts(TickInput* input) {
  const auto accounts = kernel_->accounts();
  input->accounts.reserve(highest_account_ + 1);
  for (Account account = 0; account <= highest_account_; ++account) {
    const volatile outlier_account& from = accounts[account];
    AccountSample& to = input->accounts.emplace_back();
    to.account = account;
    to.cpu_ns = from.cpu_ns;
    to.run_delay_ns = from.run_delay_ns;
    to.voluntary_switches = from.voluntary_switches;
    to.involuntary_switches = from.involuntary_switches;
    to.major_faults = from.major_faults;
    to.read_bytes = from.read_bytes;
    to.write_bytes = from.write_bytes;
    to.processes_started = from.started;
    to.processes_ended = from.ended;
    to.exits_by_code = from.exits_by_code;
    to.exits_by_signal = from.exits_by_signal;
  }
}

void BpfProbeSet::CollectLosses(TickInput* input) const {
  static constexpr const char* kNames[] = {
#define OUTLIER_FAILURE_NAME(symbol, name, meaning) #name,
      OUTLIER_FAILURE_LIST(OUTLIER_FAILURE_NAME)
#undef OUTLIER_FAILURE_NAME
  };
  const auto failures = kernel_->failures();
  for (size_t i = 0; i < failures.size(); ++i) {
    input->losses.push_back({kNames[i], failures[i]});
  }
  input->losses.push_back({"free_never_seen", kernel_->frees_never_seen()});
  input->losses.push_back({"assign_failed", assign_failed_});
  std::sort(input->losses.begin(), input->losses.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

void BpfProbeSet::Assign(std::span<const AccountAssignment> assignments) {
  for (const AccountAssignment& assignment : assignments) {
    const Account account = assignment.account < kMaxAccounts ? assignment.account : kUnattributedAccount;
    highest_account_ = std::max(highest_account_, account);
    if (!kernel_->Assign(assignment.key.pid, {.start_time_ns = assignment.key.start_time_ns, .account = account, .padding = 0}).ok()) {
      ++assign_failed_;
      continue;
    }
    assigned_[assignment.key].unseen_scans = 0;
    const auto sample = std::lower_bound(records_.begin(), records_.end(), assignment.key,
                                         [](const outlier_process& process, const ProcessKey& key) {
                                           return ProcessKey{process.pid, process.start_time_ns} < key;
                                         });
    const bool alive = sample != records_.end() && ProcessKey{sample->pid, sample->start_time_ns} == assignment.key;
    for (size_t i = 0; alive && i < probes_.size(); ++i) probes_[i]->Learn(assignment.key, sample->cgroup_id, kernel_.get());
  }
}

// The kernel drops an assignment when the process ends; this drops those made for processes that had already ended.
void BpfProbeSet::ForgetEnded(const std::vector<ProcessSample>& processes) {
  auto living = processes.begin();
  for (auto at = assigned_.begin(); at != assigned_.end();) {
    while (living != processes.end() && living->key < at->first) ++living;
    if (living != processes.end() && living->key == at->first) {
      at->second.unseen_scans = 0;
      ++at;
    } else if (++at->second.unseen_scans < 2) {
      ++at;
    } else {
      kernel_->Unassign(at->first.pid, at->first.start_time_ns);
      at = assigned_.erase(at);
    }
  }
}

std::vector<v1::ProbeState> BpfProbeSet::states() const {
  std::vector<v1::ProbeState> states;
  for (const ProbeSpec& spec : ProbeSpecs()) {
    v1::ProbeState& state = states.emplace_back();
    state.set_name(spec.name);
    const auto refused = kernel_->refused().find(spec.name);
    if (refused != kernel_->refused().end()) {
      state.set_state(v1::ProbeState::FAILED);
      state.set_reason(fmt::format("{} (oldest kernel: {})", refused->second, spec.oldest_kernel));
      state.set_blind_to(spec.lost_without);
    } else if (!kernel_->runs(spec.name)) {
      state.set_state(v1::ProbeState::OFF);
      state.set_reason("off by configuration");
      state.set_blind_to(spec.lost_without);
    } else {
      state.set_state(v1::ProbeState::ON);
      state.set_blind_to(spec.blind_to);
      if (spec.name == "tasks") {  // timed here, whole scans
        if (!kernel_->walks()) state.set_reason("scans by number: three times the cost of the kernel's list of tasks (6.9)");
        state.set_runs(scans_);
        state.set_nanoseconds_per_run(scans_ > 0 ? static_cast<double>(scan_ns_) / static_cast<double>(scans_) : 0);
      } else {
        const SelfTiming::Cost cost = timing_.OfProbe(spec.name);
        state.set_runs(static_cast<uint64_t>(cost.runs));
        state.set_nanoseconds_per_run(cost.ns_per_run);
        if (!timing_.works()) state.set_reason("its cost is not measured: BPF statistics need CAP_SYS_ADMIN");
      }
    }
  }
  return states;
}

uint64_t BpfProbeSet::map_memory_bytes() const {
  return kernel_->MemoryBytes(threads_, processes_, threaded_, allocated_syscalls_, assigned_.size());
}

double BpfProbeSet::kernel_cpu_percent() const { return timing_.Total().cpu_percent; }

}  // namespace outlier
