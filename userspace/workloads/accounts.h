// What each account was charged in a tick, from counters that only grow. Pure; not thread-safe.
#pragma once
#include <cstdint>

#include "userspace/stream/workload.h"

namespace outlier {

// The one place where counters are subtracted: a decrease is a restart of the counter.
constexpr uint64_t Increase(uint64_t now, uint64_t before) { return now >= before ? now - before : now; }

// Of one account.
struct AccountHistory {
  AccountSample last;           // cumulative, as the kernel said last
  AccountSyscalls last_syscalls;
  AccountSample since_attach;   // CPU, starts and ends: what a person is shown
  template <class Archive>
  void Serialize(Archive& a) { a(last, last_syscalls, since_attach); }
};

// Into `totals` goes what is new since the history's last sample, which `now` becomes.
void Charge(const AccountSample& now, AccountHistory* history, WorkloadTotals* totals);
void Charge(const AccountSyscalls& now, AccountHistory* history, WorkloadTotals* totals);

// The CPU time of the host that no account was charged, so that the sum over workloads is the kernel's own total. Reads
// are microseconds apart, so a little of one tick may belong to the next: the remainder is carried, in either sign.
class Residual {
 public:
  void Clear() { ns_ = 0; }
  // `host_ns`, `charged_ns`: of this tick. Returns what nobody was charged.
  uint64_t Settle(uint64_t host_ns, uint64_t charged_ns);
  template <class Archive>
  void Serialize(Archive& a) { a(ns_); }

 private:
  int64_t ns_ = 0;
};

}  // namespace outlier
