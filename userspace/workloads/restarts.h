// RestartTracker: the deaths and restarts of one workload, told apart. Pure; time is passed in (nanoseconds since boot).
//
// A restart is a new process of the workload after its main process ended, started by whoever started that one: `grep` in
// a hundred shells is not a service that fails. (A container or unit says by itself that it is one thing; there, parents
// are not compared.) Causes, first match wins: OUT_OF_MEMORY (the
// OOM killer chose it), ROLLOUT (the executable changed), CRASH_LOOP (three failures that were restarted within 1 min,
// five within 10, or six within an hour the last of which had come up), CRASH (a core-dumping signal or a non-zero status), KILLED (SIGKILL or status 137 without the OOM killer),
// SCHEDULED (it ended in order, as it did three times before), EXITED (it ended in order).
#pragma once
#include <cstdint>
#include <deque>
#include <optional>

#include "userspace/stream/workload.h"

namespace outlier {

// The executable as it was when a process of it was seen; zeros are unknown.
struct ExecutableStamp {
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  template <class Archive>
  void Serialize(Archive& a) { a(inode, size, mtime_ns); }
  bool DiffersFrom(const ExecutableStamp& other) const;
};

class RestartTracker {
 public:
  // The main process ended. `oom` = chosen by the OOM killer. A fact when this alone is worth telling.
  // `parent_pid` 0 = not to be compared.
  std::optional<RestartFact> OnMainEnd(ProcessKey key, int32_t parent_pid, uint64_t time_ns, int32_t wait_status, bool status_known,
                                       bool oom, uint64_t warm_up_ns);
  // A new main process began. A fact if it is a restart.
  std::optional<RestartFact> OnMainStart(ProcessKey key, int32_t parent_pid, uint64_t time_ns, const ExecutableStamp& stamp, uint64_t warm_up_ns);
  // A process other than the main one was killed for memory.
  RestartFact OnChildOutOfMemory(ProcessKey key, uint64_t time_ns);
  // The death is no longer waiting for a successor: another living process is the main one now.
  void GiveUpWaiting() { death_.reset(); }

  bool waiting() const { return death_.has_value(); }
  uint64_t death_time_ns() const { return death_ ? death_->time_ns : 0; }
  uint64_t restarts() const { return total_; }

  template <class Archive>
  void Serialize(Archive& a) {
    a(death_, stamp_, failures_, restarts_, child_kills_, orderly_ends_, total_);
  }

 private:
  struct Death {
    ProcessKey key;
    int32_t parent_pid = 0;
    uint64_t time_ns = 0;
    int32_t wait_status = 0;
    bool status_known = false;
    bool oom = false;
    template <class Archive>
    void Serialize(Archive& a) { a(key, parent_pid, time_ns, wait_status, status_known, oom); }
  };
  static uint32_t CountSince(std::deque<uint64_t>* times, uint64_t now_ns, uint64_t span_ns);

  std::optional<Death> death_;
  ExecutableStamp stamp_;
  std::deque<uint64_t> failures_;     // failed and were restarted, last hour
  std::deque<uint64_t> restarts_;     // all, last hour
  std::deque<uint64_t> child_kills_;  // last hour
  uint32_t orderly_ends_ = 0;         // in a row
  uint64_t total_ = 0;
};

}  // namespace outlier
