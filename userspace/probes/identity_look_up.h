// IdentityLookUp decides, once a tick, which processes to look up in /proc, and does it.
//
// Looked up are: every process of the first tick; a new one whose cgroup is not its parent's (a unit or container began);
// any that has lived 3 s; one that executed a program (LifecycleEvent kExec) and is alive; one whose cgroup changed. A
// process looked up before it was 3 s old is looked up once more then: its place may be settled by then. All others are
// short children: they belong to their parent's workload and cost no look-up. Kernel threads are never looked up.
//
// Not thread-safe. The work of a tick is bounded; what does not fit comes in the following ticks and is counted.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "userspace/probes/identity_process.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

class IdentityLookUp {
 public:
  struct Options {
    std::string proc_root = "/proc";
    std::string passwd_path = "/etc/passwd";
    uint64_t settle_ns = 3'000'000'000;
    size_t max_per_tick = 512;
  };
  IdentityLookUp() : IdentityLookUp(Options()) {}
  explicit IdentityLookUp(Options options);
  ~IdentityLookUp();
  IdentityLookUp(const IdentityLookUp&) = delete;
  IdentityLookUp& operator=(const IdentityLookUp&) = delete;

  // Reads processes (ordered by key), events and boot_time_ns of `so_far`; appends the answers to `out`.
  void LookUp(const TickInput& so_far, std::vector<IdentityObservation>* out);

  uint64_t gone() const { return gone_; }
  // Look-ups put off to a later tick, once for each tick they waited. Cumulative.
  uint64_t deferred() const { return deferred_; }
  // Adds `identity_deferred` and `identity_gone`, keeping the order by name.
  void AppendLosses(std::vector<LossSample>* losses) const;

 private:
  struct Known {
    ProcessKey key;
    uint64_t cgroup_id = 0;
    bool wanted = false;    // a look-up is due
    bool settled = false;   // looked up at 3 s of age or later: no more needed until something happens
    bool executed = false;  // the next answer replaces an earlier one
  };
  void Follow(const TickInput& so_far);
  void MarkExecs(const TickInput& so_far);
  static bool IsOlderThan(const ProcessKey& key, uint64_t age_ns, uint64_t now_ns);

  const Options options_;
  int proc_fd_ = -1;
  UserNames users_;
  std::vector<Known> known_;  // living processes, ordered by key
  std::vector<Known> next_;   // scratch of Follow
  bool first_tick_ = true;
  int32_t resume_at_pid_ = 0;  // look-ups that did not fit go first next time
  uint64_t gone_ = 0;
  uint64_t deferred_ = 0;
};

}  // namespace outlier
