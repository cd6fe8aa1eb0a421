#include "userspace/probes/identity_look_up.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace outlier {
namespace {

const ProcessSample* FindByPid(const std::vector<ProcessSample>& processes, int32_t pid) {
  const auto found = std::lower_bound(processes.begin(), processes.end(), pid, [](const ProcessSample& p, int32_t wanted) { return p.key.pid < wanted; });
  return found != processes.end() && found->key.pid == pid ? &*found : nullptr;
}

void Insert(std::vector<LossSample>* losses, LossSample loss) {
  const auto place = std::lower_bound(losses->begin(), losses->end(), loss, [](const LossSample& a, const LossSample& b) { return a.name < b.name; });
  losses->insert(place, std::move(loss));
}

}  // namespace

IdentityLookUp::IdentityLookUp(Options options)
    : options_(std::move(options)),
      proc_fd_(open(options_.proc_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      users_(options_.passwd_path) {}

IdentityLookUp::~IdentityLookUp() {
  if (proc_fd_ >= 0) close(proc_fd_);
}

bool IdentityLookUp::IsOlderThan(const ProcessKey& key, uint64_t age_ns, uint64_t now_ns) {
  return now_ns >= age_ns && key.start_time_ns <= now_ns - age_ns;
}

// Merges the living processes with those already known: both are ordered by key.
void IdentityLookUp::Follow(const TickInput& so_far) {
  next_.clear();
  size_t k = 0;
  for (const ProcessSample& process : so_far.processes) {
    if (process.kernel_thread) continue;
    while (k < known_.size() && known_[k].key < process.key) ++k;  // ended
    Known entry;
    if (k < known_.size() && known_[k].key == process.key) {
      entry = known_[k];
      if (entry.cgroup_id != process.cgroup_id) entry.wanted = true;
    } else {
      entry.key = process.key;
      const ProcessSample* parent = FindByPid(so_far.processes, process.parent_pid);
      entry.wanted = first_tick_ || (parent != nullptr && !parent->kernel_thread && parent->cgroup_id != process.cgroup_id);
    }
    entry.cgroup_id = process.cgroup_id;
    if (!entry.settled && IsOlderThan(entry.key, options_.settle_ns, so_far.boot_time_ns)) entry.wanted = true;
    next_.push_back(entry);
  }
  known_.swap(next_);
  first_tick_ = false;
}

void IdentityLookUp::MarkExecs(const TickInput& so_far) {
  for (const LifecycleEvent& event : so_far.events) {
    if (event.kind != LifecycleEvent::Kind::kExec) continue;
    const auto found = std::lower_bound(known_.begin(), known_.end(), event.key, [](const Known& a, const ProcessKey& key) { return a.key < key; });
    if (found == known_.end() || found->key != event.key) continue;  // already over: its parent's workload has it
    found->wanted = true;
    found->executed = true;
  }
}

void IdentityLookUp::LookUp(const TickInput& so_far, std::vector<IdentityObservation>* out) {
  Follow(so_far);
  MarkExecs(so_far);
  const size_t start = static_cast<size_t>(
      std::lower_bound(known_.begin(), known_.end(), resume_at_pid_, [](const Known& a, int32_t pid) { return a.key.pid < pid; }) - known_.begin());
  size_t done = 0;
  resume_at_pid_ = 0;
  for (size_t i = 0; i < known_.size(); ++i) {
    Known& entry = known_[(start + i) % known_.size()];
    if (!entry.wanted) continue;
    if (done == options_.max_per_tick) {
      if (resume_at_pid_ == 0) resume_at_pid_ = entry.key.pid;
      ++deferred_;
      continue;
    }
    ++done;
    entry.wanted = false;
    entry.settled = IsOlderThan(entry.key, options_.settle_ns, so_far.boot_time_ns);
    std::optional<IdentityObservation> seen = LookUpProcess(entry.key, proc_fd_, &users_);
    if (!seen) {
      ++gone_;
      continue;
    }
    seen->exec = entry.executed;
    entry.executed = false;
    out->push_back(std::move(*seen));
  }
}

void IdentityLookUp::AppendLosses(std::vector<LossSample>* losses) const {
  Insert(losses, {"identity_deferred", deferred_});
  Insert(losses, {"identity_gone", gone_});
}

}  // namespace outlier
