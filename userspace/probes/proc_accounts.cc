#include "userspace/probes/proc_accounts.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "userspace/probes/proc_text.h"

namespace outlier {
namespace {

constexpr size_t kMostExecutables = 16'384;  // twice the accounts there can be
constexpr int kMostParents = 64;             // how far up an account is looked for

const ProcessSample* FindByPid(const std::vector<ProcessSample>& processes, int32_t pid) {
  const auto found = std::lower_bound(processes.begin(), processes.end(), pid, [](const ProcessSample& p, int32_t wanted) { return p.key.pid < wanted; });
  return found != processes.end() && found->key.pid == pid ? &*found : nullptr;
}

}  // namespace

ProcAccounts::Charged* ProcAccounts::Find(const ProcessKey& key) {
  const auto found = std::lower_bound(charged_.begin(), charged_.end(), key, [](const Charged& c, const ProcessKey& wanted) { return c.key < wanted; });
  return found != charged_.end() && found->key == key ? &*found : nullptr;
}

AccountSample& ProcAccounts::Total(Account account) {
  AccountSample& total = totals_[account];
  total.account = account;
  return total;
}

// A new process belongs where its nearest ancestor of the last scan does.
Account ProcAccounts::AccountOfParent(const std::vector<ProcessSample>& processes, int32_t parent_pid) const {
  for (int i = 0; i < kMostParents; ++i) {
    const ProcessSample* parent = FindByPid(processes, parent_pid);
    if (parent == nullptr || parent->kernel_thread) break;
    const auto found = std::lower_bound(charged_.begin(), charged_.end(), parent->key, [](const Charged& c, const ProcessKey& wanted) { return c.key < wanted; });
    if (found != charged_.end() && found->key == parent->key) return found->account;
    parent_pid = parent->parent_pid;
  }
  return kUnattributedAccount;
}

void ProcAccounts::Charge(const ProcessSample& process, Charged* charged) {
  AccountSample& total = Total(charged->account);
  const auto add = [](uint64_t now, uint64_t* seen, uint64_t* sum) {
    if (now <= *seen) return;
    *sum += now - *seen;
    *seen = now;
  };
  add(process.cpu_ns, &charged->seen.cpu_ns, &total.cpu_ns);
  add(process.run_delay_ns, &charged->seen.run_delay_ns, &total.run_delay_ns);
  add(process.voluntary_switches, &charged->seen.voluntary_switches, &total.voluntary_switches);
  add(process.involuntary_switches, &charged->seen.involuntary_switches, &total.involuntary_switches);
  add(process.major_faults, &charged->seen.major_faults, &total.major_faults);
  add(process.read_bytes, &charged->seen.read_bytes, &total.read_bytes);
  add(process.write_bytes, &charged->seen.write_bytes, &total.write_bytes);
}

std::string ProcAccounts::ExecutableOf(int32_t pid) const {
  char path[48], target[4096];
  snprintf(path, sizeof path, "%d/exe", pid);
  const ssize_t n = readlinkat(proc_fd_, path, target, sizeof target);
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : "";
}

std::string ProcAccounts::ArgumentsOf(int32_t pid) const {
  char path[48], buffer[4096];
  snprintf(path, sizeof path, "%d/cmdline", pid);
  return std::string(ReadAt(proc_fd_, path, buffer, sizeof buffer).value_or(""));
}

bool ProcAccounts::Executed(const ProcessSample& process, bool fresh, Charged* charged) const {
  if (!fresh && charged->comm == process.comm) return false;
  const auto known = executables_.find(process.comm);
  if (charged->assigned) {  // a known process under another name: by exec, or it only renamed itself
    std::string executable = ExecutableOf(process.key.pid);
    if (executable.empty() || executable == charged->executable) return false;
    charged->executable = std::move(executable);
    return true;
  }
  if (known == executables_.end()) return false;
  const std::string executable = ExecutableOf(process.key.pid);
  if (known->second.count(executable) == 0) return false;
  // A worker that a server forks runs the same program under the same command line: it executed nothing.
  return ExecutableOf(process.parent_pid) != executable || ArgumentsOf(process.parent_pid) != ArgumentsOf(process.key.pid);
}

void ProcAccounts::End(const Charged& charged, uint64_t now_ns, int32_t wait_status, std::vector<LifecycleEvent>* events) {
  AccountSample& total = Total(charged.account);
  ++total.processes_ended;
  if (WIFSIGNALED(wait_status)) ++total.exits_by_signal;
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0) ++total.exits_by_code;
  if (!charged.assigned && wait_status == 0) return;  // neither known to anyone nor seen to fail
  LifecycleEvent event;
  event.kind = LifecycleEvent::Kind::kEnd;
  event.key = charged.key;
  event.parent_pid = charged.parent_pid;
  event.account = charged.account;
  event.time_ns = now_ns;
  event.wait_status = wait_status;
  event.cpu_ns = charged.seen.cpu_ns;
  event.cgroup_id = charged.cgroup_id;
  event.comm = charged.comm;
  events->push_back(std::move(event));
}

void ProcAccounts::Follow(const std::vector<ProcessSample>& processes, uint64_t now_ns, const std::function<int32_t(const ProcessKey&)>& wait_status_of,
                          std::vector<LifecycleEvent>* events) {
  next_.clear();
  next_.reserve(processes.size());
  // First all that is new, while charged_ still holds the last scan for AccountOfParent.
  size_t k = 0;
  for (const ProcessSample& process : processes) {
    while (k < charged_.size() && charged_[k].key < process.key) ++k;
    const bool fresh = k == charged_.size() || charged_[k].key != process.key;
    Charged charged;
    charged.key = process.key;
    if (fresh) {
      charged.account = process.kernel_thread ? kKernelAccount : AccountOfParent(processes, process.parent_pid);
      if (first_) {
        charged.seen = {0, process.cpu_ns, process.run_delay_ns, process.voluntary_switches, process.involuntary_switches, process.major_faults,
                        process.read_bytes, process.write_bytes, 0, 0, 0, 0};
      } else {
        ++Total(charged.account).processes_started;
      }
    } else {
      charged.account = charged_[k].account;
      charged.assigned = charged_[k].assigned;
      charged.seen = charged_[k].seen;
      charged.comm = charged_[k].comm;
      charged.executable = std::move(charged_[k].executable);
    }
    Charge(process, &charged);
    if (!first_ && !process.kernel_thread && Executed(process, fresh, &charged)) {
      LifecycleEvent event;
      event.kind = LifecycleEvent::Kind::kExec;
      event.key = process.key;
      event.parent_pid = process.parent_pid;
      event.account = charged.account;
      event.time_ns = now_ns;
      event.cgroup_id = process.cgroup_id;
      event.comm = process.comm;
      events->push_back(std::move(event));
    }
    charged.parent_pid = process.parent_pid;
    charged.cgroup_id = process.cgroup_id;
    charged.comm = process.comm;
    next_.push_back(std::move(charged));
  }
  size_t living = 0;
  for (const Charged& charged : charged_) {
    while (living < processes.size() && processes[living].key < charged.key) ++living;
    if (living < processes.size() && processes[living].key == charged.key) continue;
    End(charged, now_ns, wait_status_of(charged.key), events);
  }
  charged_.swap(next_);
  first_ = false;
}

void ProcAccounts::Assign(std::span<const AccountAssignment> assignments) {
  for (const AccountAssignment& assignment : assignments) {
    Charged* charged = Find(assignment.key);
    if (charged == nullptr) continue;  // ended meanwhile
    charged->account = assignment.account;
    charged->assigned = true;
    charged->executable = ExecutableOf(assignment.key.pid);
    Total(assignment.account);
    if (charged->executable.empty() || executables_known_ >= kMostExecutables) continue;
    if (executables_[charged->comm].insert(charged->executable).second) ++executables_known_;
  }
}

std::vector<AccountSample> ProcAccounts::Samples() const {
  std::vector<AccountSample> samples;
  samples.reserve(totals_.size());
  for (const auto& [account, total] : totals_) samples.push_back(total);
  return samples;
}

}  // namespace outlier
