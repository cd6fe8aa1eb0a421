// ProcAccounts does in user space what the kernel programs do in maps: charges every process to an account, lets children
// inherit their parent's, and tells starts, ends and executions apart by comparing one scan with the last. Pure but for
// reading the executables' names below proc_fd. Not thread-safe.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

class ProcAccounts {
 public:
  explicit ProcAccounts(int proc_fd) : proc_fd_(proc_fd) {}

  // `processes`: the living, ordered by key. Appends events of this step, executions before ends, each ordered by key.
  // What the processes of the first call used before it is charged to no one.
  void Follow(const std::vector<ProcessSample>& processes, uint64_t now_ns, const std::function<int32_t(const ProcessKey&)>& wait_status_of,
              std::vector<LifecycleEvent>* events);
  void Assign(std::span<const AccountAssignment> assignments);
  // Every account ever charged, ordered.
  std::vector<AccountSample> Samples() const;

 private:
  struct Charged {
    ProcessKey key;
    int32_t parent_pid = 0;
    Account account = kUnattributedAccount;
    bool assigned = false;
    AccountSample seen;       // the process counters already charged
    uint64_t cgroup_id = 0;
    std::string comm;
    std::string executable;   // of assigned processes
  };
  Charged* Find(const ProcessKey& key);
  Account AccountOfParent(const std::vector<ProcessSample>& processes, int32_t parent_pid) const;
  AccountSample& Total(Account account);
  void Charge(const ProcessSample& process, Charged* charged);
  bool Executed(const ProcessSample& process, bool fresh, Charged* charged) const;
  void End(const Charged& charged, uint64_t now_ns, int32_t wait_status, std::vector<LifecycleEvent>* events);
  std::string ExecutableOf(int32_t pid) const;
  std::string ArgumentsOf(int32_t pid) const;

  const int proc_fd_;
  bool first_ = true;
  std::vector<Charged> charged_, next_;                       // ordered by key
  std::map<Account, AccountSample> totals_;
  std::map<std::string, std::set<std::string>> executables_;  // of assigned processes, by comm
  size_t executables_known_ = 0;
};

}  // namespace outlier
