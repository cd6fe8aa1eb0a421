#include "userspace/workloads/accounts.h"

namespace outlier {
namespace {

AccountSample Difference(const AccountSample& now, const AccountSample& before) {
  AccountSample d;
  d.account = now.account;
  d.cpu_ns = Increase(now.cpu_ns, before.cpu_ns);
  d.run_delay_ns = Increase(now.run_delay_ns, before.run_delay_ns);
  d.voluntary_switches = Increase(now.voluntary_switches, before.voluntary_switches);
  d.involuntary_switches = Increase(now.involuntary_switches, before.involuntary_switches);
  d.major_faults = Increase(now.major_faults, before.major_faults);
  d.read_bytes = Increase(now.read_bytes, before.read_bytes);
  d.write_bytes = Increase(now.write_bytes, before.write_bytes);
  d.processes_started = Increase(now.processes_started, before.processes_started);
  d.processes_ended = Increase(now.processes_ended, before.processes_ended);
  d.exits_by_code = Increase(now.exits_by_code, before.exits_by_code);
  d.exits_by_signal = Increase(now.exits_by_signal, before.exits_by_signal);
  return d;
}

}  // namespace

void Charge(const AccountSample& now, AccountHistory* history, WorkloadTotals* totals) {
  totals->delta = Difference(now, history->last);
  history->last = now;
  history->since_attach.cpu_ns += totals->delta.cpu_ns;
  history->since_attach.processes_started += totals->delta.processes_started;
  history->since_attach.processes_ended += totals->delta.processes_ended;
  if (totals->delta.cpu_ns > 0 || totals->delta.processes_started > 0) totals->observed = true;
}

void Charge(const AccountSyscalls& now, AccountHistory* history, WorkloadTotals* totals) {
  AccountSyscalls& before = history->last_syscalls;
  AccountSyscalls& d = totals->syscalls;
  d.account = before.account = now.account;
  d.changed = now.changed;
  for (int c = 0; c < kSyscallClasses; ++c) {
    if (!now.has_changed(c)) continue;
    d.duration_sum_ns[c] = Increase(now.duration_sum_ns[c], before.duration_sum_ns[c]);
    d.errors[c] = now.errors[c] - before.errors[c];  // wraps on purpose
    for (int b = 0; b < kDurationBuckets; ++b) d.buckets[c][b] = now.buckets[c][b] - before.buckets[c][b];
    before.TakeClass(c, now);
  }
}

uint64_t Residual::Settle(uint64_t host_ns, uint64_t charged_ns) {
  ns_ += static_cast<int64_t>(host_ns) - static_cast<int64_t>(charged_ns);
  if (ns_ <= 0) return 0;
  const auto nobodys = static_cast<uint64_t>(ns_);
  ns_ = 0;
  return nobodys;
}

}  // namespace outlier
