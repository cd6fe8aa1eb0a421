/* Charging: every counter of a thread is charged to an account as the difference to what was charged before, so that
 * each nanosecond is counted once whatever the order of scan, exit and free, and totals only grow.
 */
#ifndef OUTLIER_BPF_ACCOUNTING_BPF_H_
#define OUTLIER_BPF_ACCOUNTING_BPF_H_

#include "bpf/pending_calls.bpf.h"

static __always_inline void read_counters(struct task_struct *task, struct counters *now) {
  now->cpu_ns = task->se.sum_exec_runtime;
  now->run_delay_ns = task->sched_info.run_delay;
  now->voluntary_switches = task->nvcsw;
  now->involuntary_switches = task->nivcsw;
  now->major_faults = task->maj_flt;
  now->read_bytes = task->ioac.read_bytes;
  now->write_bytes = task->ioac.write_bytes;
}

/* What the kernel kept of the threads that were released. */
static __always_inline void read_released(struct signal_struct *signal, struct counters *released) {
  released->cpu_ns = signal->sum_sched_runtime;
  released->run_delay_ns = 0;
  released->voluntary_switches = signal->nvcsw;
  released->involuntary_switches = signal->nivcsw;
  released->major_faults = signal->maj_flt;
  released->read_bytes = signal->ioac.read_bytes;
  released->write_bytes = signal->ioac.write_bytes;
}

static __always_inline void add_counters(struct counters *to, const struct counters *more) {
  to->cpu_ns += more->cpu_ns;
  to->run_delay_ns += more->run_delay_ns;
  to->voluntary_switches += more->voluntary_switches;
  to->involuntary_switches += more->involuntary_switches;
  to->major_faults += more->major_faults;
  to->read_bytes += more->read_bytes;
  to->write_bytes += more->write_bytes;
}

/* If someone else moved *counted meanwhile, he charged a part; the rest is charged at the next scan or at free, where
 * nobody competes. */
static __always_inline void charge_one(__u64 *total, __u64 *counted, __u64 now) {
  __u64 before = *counted;
  if (now <= before) return;
  if (__sync_val_compare_and_swap(counted, before, now) == before) __sync_fetch_and_add(total, now - before);
}

static __always_inline void charge(struct thread_state *state, struct outlier_account *slot, const struct counters *now) {
  charge_one(&slot->cpu_ns, &state->counted.cpu_ns, now->cpu_ns);
  charge_one(&slot->run_delay_ns, &state->counted.run_delay_ns, now->run_delay_ns);
  charge_one(&slot->voluntary_switches, &state->counted.voluntary_switches, now->voluntary_switches);
  charge_one(&slot->involuntary_switches, &state->counted.involuntary_switches, now->involuntary_switches);
  charge_one(&slot->major_faults, &state->counted.major_faults, now->major_faults);
  charge_one(&slot->read_bytes, &state->counted.read_bytes, now->read_bytes);
  charge_one(&slot->write_bytes, &state->counted.write_bytes, now->write_bytes);
}

static __always_inline void charge_to(struct thread_state *state, __u32 account, const struct counters *now) {
  struct outlier_account *slot = account_slot(account);
  if (slot) charge(state, slot, now);
}

static const struct outlier_syscalls no_syscalls = {};

/* The histograms of an account. */
static __always_inline struct outlier_syscalls *syscalls_of(__u32 account) {
  if (account < OUTLIER_MAPPED_ACCOUNTS) return bpf_map_lookup_elem(&mapped_syscalls, &account);
  struct outlier_syscalls *syscalls = bpf_map_lookup_elem(&account_syscalls, &account);
  if (syscalls) return syscalls;
  bpf_map_update_elem(&account_syscalls, &account, &no_syscalls, BPF_NOEXIST);
  syscalls = bpf_map_lookup_elem(&account_syscalls, &account);
  if (!syscalls) count_failure(OUTLIER_FAILURE_ACCOUNT_SYSCALLS);
  return syscalls;
}

/* After the counters, so that who sees the mark sees them too. */
static __always_inline void mark_moved(__u32 account, __u32 class) {
  struct outlier_account *slot = account_slot(account);
  if (!slot) return;
  __sync_fetch_and_add(&slot->classes_moved[class & OUTLIER_SYSCALL_CLASS_MASK], 1);
  __sync_fetch_and_add(&slot->syscalls_moved, 1);
}

/* Moves what a process measured of a class since the last move to its account. Concurrent calls lose nothing: each number is
 * taken by an exchange. Not inlined into callers twice: a static function is one BPF subprogram. */
static __noinline int move_class(struct process_syscalls *from, __u32 account, __u32 class) {
  if (!from || class >= OUTLIER_SYSCALL_CLASSES) return 0;
  struct outlier_syscalls *to = syscalls_of(account);
  if (!to) return 0;
  const __u64 dirty = __sync_lock_test_and_set(&from->classes[class].dirty, 0);
  __sync_fetch_and_add(&to->duration_sum_ns[class], __sync_lock_test_and_set(&from->classes[class].duration_sum_ns, 0));
  if (from->errors[class])
    __sync_fetch_and_add(&to->errors[class], __sync_lock_test_and_set(&from->errors[class], 0));
  /* Four by four, then bit by bit: jumping from set bit to set bit leaves the verifier with as many paths as there are
   * sets of bits. */
  for (__u32 first = 0; first < OUTLIER_DURATION_BUCKETS; first += 4) {
    if (!(dirty >> first & 15)) continue;
    for (__u32 bucket = first; bucket < first + 4; ++bucket) {
      if (!(dirty >> bucket & 1)) continue;
      __u32 count = __sync_lock_test_and_set(&from->buckets[class][bucket], 0);
      __sync_fetch_and_add(&to->buckets[class][bucket], count);
    }
  }
  mark_moved(account, class);
  return 0;
}

static __always_inline void move_syscalls(struct process_syscalls *from, __u32 account) {
  for (__u32 class = 0; class < OUTLIER_SYSCALL_CLASSES; ++class) {
    if (from->classes[class].dirty) move_class(from, account, class); /* else no call of this class has ended since */
  }
}

/* What waits in the thread goes to its account. Where the account has no histogram, those calls are lost and counted. */
static __noinline int move_pending(struct thread_state *state, __u32 account) {
  if (!state) return 0;
  const __u64 taken = take_pending(state);
  if (!taken) return 0;
  const struct pending_calls calls = unpack_pending(taken);
  const __u32 class = calls.class & OUTLIER_SYSCALL_CLASS_MASK;
  struct outlier_syscalls *to = syscalls_of(account);
  if (!to || calls.bucket >= OUTLIER_DURATION_BUCKETS) return 0;
  __sync_fetch_and_add(&to->duration_sum_ns[class], calls.duration_sum_ns);
  __sync_fetch_and_add(&to->buckets[class][calls.bucket], (__u32)calls.count);
  mark_moved(account, class);
  return 0;
}

#endif  /* OUTLIER_BPF_ACCOUNTING_BPF_H_ */
