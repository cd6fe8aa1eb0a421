// Workloads: which process belongs to which workload, and what each workload did in a tick. Pure: a function of the
// TickInputs seen. Not thread-safe.
//
// A process belongs to its parent's workload until a look-up says otherwise ("short children": a shell that forks a
// thousand commands a second is one workload). An exec observation attaches a process at once if its workload is known,
// and is ignored otherwise. What no workload owns is `unattributed`; kernel threads are `kernel`.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/stream/proto_archive.h"
#include "userspace/stream/workload.h"
#include "userspace/workloads/accounts.h"
#include "userspace/workloads/identity.h"
#include "userspace/workloads/process_table.h"
#include "userspace/workloads/restarts.h"

namespace outlier {

class Workloads {
 public:
  explicit Workloads(uint64_t warm_up_ns);

  // `assignments` gets what the kernel has to be told. `tick` is written anew; of an earlier one, its storage is used again.
  void Observe(const TickInput& input, std::vector<AccountAssignment>* assignments, WorkloadTick* tick);
  void SetWarmUp(uint64_t warm_up_ns) { warm_up_ns_ = warm_up_ns; }

  int slots() const { return static_cast<int>(slots_.size()); }
  bool used(Slot slot) const { return slots_[slot].used; }
  const v1::Workload& workload(Slot slot) const { return slots_[slot].workload; }
  // Fills everything of WorkloadState but score, warming_up and values.
  void Describe(Slot slot, v1::WorkloadState* state) const;
  uint32_t living_processes() const { return living_; }
  uint64_t accounts_full() const { return accounts_full_; }

  template <class Archive>
  void Serialize(Archive& a) {
    a(slots_, processes_, victims_, epoch_, boot_id_, now_ns_, residual_, living_, accounts_full_, probes_missing_, host_, has_host_);
  }

 private:
  struct ProcessState {
    Slot slot = 0;
    bool looked_up = false;
    bool ended = false;       // its end was seen; the entry waits until no sample shows it
    int32_t parent_pid = 0;
    uint32_t unseen_ticks = 0;
    uint64_t cpu_ns = 0;
    double cpu_now = 0;
    double cpu_before = 0;
    std::string name;
    template <class Archive>
    void Serialize(Archive& a) {
      a(slot, looked_up, ended, parent_pid, unseen_ticks, cpu_ns, cpu_now, cpu_before, name);
    }
  };
  struct SlotState {
    bool used = false;
    bool born = false;            // since the last tick was told
    bool renamed = false;         // likewise, its description
    std::string key;
    v1::Workload workload;
    bool has_main = false;
    ProcessKey main;
    uint64_t last_alive_ns = 0;
    uint32_t processes = 0;
    uint64_t memory_bytes = 0, memory_limit_bytes = 0;
    double cpu_utilization = 0;
    AccountHistory account;
    RestartTracker restarts;
    template <class Archive>
    void Serialize(Archive& a) {
      a(used, born, renamed, key);
      SerializeMessage(a, workload);
      a(has_main, main, last_alive_ns, processes, memory_bytes, cpu_utilization, account, restarts);
      if constexpr (Archive::kReading) {
        if (a.layout() < 9) return;
      }
      a(memory_limit_bytes);
    }
  };
  struct Victim {                 // chosen by the OOM killer, its end not seen yet
    uint64_t time_ns = 0;
    std::string detail;
    template <class Archive>
    void Serialize(Archive& a) { a(time_ns, detail); }
  };

  void BeginEpoch(const TickInput& input, std::vector<AccountAssignment>* assignments);
  void ReserveSlots();
  Slot FindOrMake(const Identity& identity);
  Slot SiblingOf(Slot slot) const;
  Slot SlotOfParent(int32_t parent_pid) const;
  void Attach(const IdentityObservation& observation, std::vector<AccountAssignment>* assignments, WorkloadTick* out);
  void End(const LifecycleEvent& event, bool status_known, WorkloadTick* out);
  void TellRestart(Slot slot, RestartFact fact, WorkloadTick* out);
  void FollowProcesses(const TickInput& input, WorkloadTick* out);
  void SubtractAccounts(const TickInput& input, WorkloadTick* out);
  void SettleMainProcesses();
  void RankBusiest(WorkloadTick* out) const;

  uint64_t warm_up_ns_;
  std::vector<SlotState> slots_;
  ProcessTable<ProcessState> processes_;
  std::map<ProcessKey, Victim> victims_;
  uint64_t epoch_ = 0;
  std::string boot_id_;
  uint64_t now_ns_ = 0;
  Residual residual_;
  uint32_t living_ = 0;
  uint64_t accounts_full_ = 0;
  std::vector<std::string> probes_missing_;
  HostSample host_;
  bool has_host_ = false;
  // Of the tick under way: what FollowProcesses met, so that the others need not walk through all processes for nothing.
  bool some_main_missing_ = false, some_gained_ = false;
};

}  // namespace outlier
