// The user half of probe `lifecycle`: ring buffer events as LifecycleEvents, and what execs say of identity.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bpf/abi.h"
#include "userspace/probes/identity_process.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

// Not thread-safe. Memory is bounded: at most kRemembered paths and cgroups are kept.
class LifecycleReader {
 public:
  explicit LifecycleReader(uint64_t page_bytes);
  ~LifecycleReader();
  LifecycleReader(const LifecycleReader&) = delete;
  LifecycleReader& operator=(const LifecycleReader&) = delete;

  // Remembers the paths of a living process's executable and cgroup: a later process of the same kind may be gone before
  // it can be looked up. Returns the executable's file; nullopt where the process is gone.
  struct File {
    uint64_t inode = 0;
    dev_t device = 0;
  };
  std::optional<File> Learn(const ProcessKey& key, uint64_t cgroup_id);

  // One event as the ring buffer held it; an unknown kind or a short one is ignored.
  void Take(std::span<const std::byte> bytes);
  // Moves the events to `input`. OOM victims of which only the pid is known are completed by their end or by
  // `input->processes`; where neither tells of them yet, they are given to the next tick. A process that
  // executed and is gone already gets an identity observation from what the kernel saw at exec; who lives can be looked up.
  void Finish(TickInput* input);

 private:
  static constexpr size_t kRemembered = 8192;
  struct Exec {
    ProcessKey key;
    int32_t parent_pid = 0;
    uint32_t user_id = 0;
    uint64_t cgroup_id = 0;
    uint64_t inode = 0;
    uint64_t size = 0;
    int64_t mtime_ns = 0;
    std::string path;
    std::vector<std::string> arguments;
    std::string comm;
  };
  void Complete(LifecycleEvent* victim, const TickInput& input) const;
  IdentityObservation Observation(const Exec& exec);
  std::string ResolvedPath(const Exec& exec) const;

  const uint64_t page_bytes_;
  std::vector<LifecycleEvent> events_;
  std::vector<LifecycleEvent> early_;  // victims born since the scan of the tick that told of them
  std::vector<Exec> execs_;
  std::map<uint64_t, std::string> cgroup_paths_;      // learned from look-ups
  std::map<uint64_t, std::string> executable_paths_;  // inode -> path, learned from look-ups
  int proc_fd_ = -1;
  UserNames users_;
};

}  // namespace outlier
