/* Probe `syscall_latency`: how long calls take and how many fail, per process and class.
 *
 * Hooks: tp_btf/sys_enter and sys_exit. While they are attached every call of the host takes the kernel's slow path:
 * most of the cost is there. Calls like the first since the last scan wait in the thread (pending_calls.bpf.h), others
 * in histograms in the storage of the process's leader; both are moved to the account at the next scan or at the end. Cannot see: io_uring and mmap as calls; a call in flight at attach.
 */
#include "bpf/accounting.bpf.h"
#include "bpf/duration_bucket.h"
#include "bpf/file_kind.bpf.h"

#define EINTR 4
#define EAGAIN 11
#define ETIMEDOUT 110
#define EINPROGRESS 115
#define ERESTART_FIRST 512 /* ERESTARTSYS .. ERESTART_RESTARTBLOCK: the kernel's own, never seen by the caller */
#define ERESTART_LAST 516

SEC("tp_btf/sys_enter")
int BPF_PROG(syscall_latency_enter, struct pt_regs *regs, long number) {
  struct task_struct *task = bpf_get_current_task_btf();
  struct thread_state *state = bpf_task_storage_get(&thread_states, task, 0, 0);
  if (!state) return 0; /* before the first scan */
  const __u64 index = number;
  __u32 call = index < OUTLIER_SYSCALLS && !is_compat_call(task) ? syscall_table[index] : OUTLIER_CLASS_OTHER;
  if (call & OUTLIER_SYSCALL_BY_FUTEX)
    call = futex_waits >> (syscall_argument1(regs) & 31) & 1 ? OUTLIER_CLASS_BLOCKING : call & OUTLIER_SYSCALL_CLASS_MASK;
  state->call_argument = syscall_argument0(regs);
  state->call = call;
  state->call_start_ns = bpf_ktime_get_ns();
  return 0;
}

static __always_inline bool is_error(long result, __u32 class) {
  if (result >= 0 || result < -4095) return false;
  const long error = -result;
  if (error == EAGAIN || error == EINTR || error == EINPROGRESS) return false;
  if (error >= ERESTART_FIRST && error <= ERESTART_LAST) return false;
  return error != ETIMEDOUT || class != OUTLIER_CLASS_BLOCKING;
}

static __always_inline __u32 class_by_file(struct process_syscalls *syscalls, struct task_struct *task, __u32 descriptor,
                                           __u64 duration) {
  __u32 kind = remembered_kind(syscalls, descriptor);
  if (kind == FILE_KIND_UNKNOWN && (descriptor < REMEMBERED_FILES || duration >= slow_call_ns)) {
    kind = look_at_file(task, descriptor);
    if (kind != FILE_KIND_UNKNOWN) remember_kind(syscalls, descriptor, kind);
  }
  return kind == FILE_KIND_BLOCKING ? OUTLIER_CLASS_BLOCKING : OUTLIER_CLASS_FILE;
}

static __always_inline struct process_syscalls *syscalls_of_process(struct task_struct *leader) {
  struct process_syscalls *syscalls = bpf_task_storage_get(&process_syscalls, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!syscalls) count_failure(OUTLIER_FAILURE_SYSCALLS_CREATE);
  return syscalls;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_latency_exit, struct pt_regs *regs, long result) {
  struct task_struct *task = bpf_get_current_task_btf();
  struct thread_state *state = bpf_task_storage_get(&thread_states, task, 0, 0);
  if (!state || !state->call_start_ns) return 0;
  const __u64 duration = bpf_ktime_get_ns() - state->call_start_ns;
  state->call_start_ns = 0;
  const __u32 call = state->call;
  __u32 class = call & OUTLIER_SYSCALL_CLASS_MASK;
  struct process_syscalls *syscalls = 0;
  if (call & ~OUTLIER_SYSCALL_CLASS_MASK) {
    syscalls = syscalls_of_process(task->group_leader);
    if (!syscalls) return 0;
    if (call & OUTLIER_SYSCALL_BY_FILE) class = class_by_file(syscalls, task, state->call_argument, duration);
    if (call & OUTLIER_SYSCALL_CLOSES) forget_kind(syscalls, state->call_argument);
    if (call & OUTLIER_SYSCALL_CLOSES_ALL) forget_all_kinds(syscalls);
  }
  class &= OUTLIER_SYSCALL_CLASS_MASK;
  if (class == OUTLIER_CLASS_MEMORY) state->told = 0; /* it may have given memory back: the next scan looks */
  const __u32 bucket = outlier_duration_bucket(duration);
  if (bucket >= OUTLIER_DURATION_BUCKETS) return 0;
  const bool error = is_error(result, class);
  if (!error && add_pending(state, class, bucket, duration)) return 0;

  if (!syscalls) syscalls = syscalls_of_process(task->group_leader);
  if (!syscalls) return 0;
  __sync_fetch_and_add(&syscalls->classes[class].duration_sum_ns, duration);
  if (error) __sync_fetch_and_add(&syscalls->errors[class], 1);
  __sync_fetch_and_add(&syscalls->buckets[class][bucket], 1);
  /* After the counters: a move that took the bit before has taken them too, or finds the bit again. */
  const __u64 bit = 1ull << bucket;
  if (!(syscalls->classes[class].dirty & bit)) __sync_fetch_and_or(&syscalls->classes[class].dirty, bit);
  if (!state->spilled) state->spilled = 1;
  return 0;
}
