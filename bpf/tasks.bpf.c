/* Probe `tasks`: the scan, once a tick, over every thread of the host.
 *
 * Two ways to meet them, one body. Where the kernel lets BPF iterate over its list of tasks (6.9), userspace runs a program that
 * walks the list and leaves the records in an array. Else, and where there are more processes than the array has room for: iter/task
 * (5.8), which finds each by its number. Cost: about 0.6 us a process by list, 1.7 by number, where each has run since;
 * nothing between ticks. Cannot see: what lived and died between two scans (lifecycle charges that).
 *
 * A thread is charged where it is met. A process is told once all its threads have been met: at once where it has one
 * thread, else at its last one, if no thread was released since the first (their counters would be counted twice or not
 * at all). The few processes that this leaves open are told by a second pass, which runs only if there are any.
 */
#include "bpf/accounting.bpf.h"
#include "bpf/cgroup.bpf.h"
#include "bpf/file_kind.bpf.h"
#include "bpf/look_ahead.bpf.h"
#include "bpf/resident.bpf.h"

/* Below this age no call in flight is worth finding out what it waits for. */
#define IN_FLIGHT_LEAST_NS 10000000ull
/* The cgroup is looked up again after this many scans even if the css_set's address stayed: addresses are reused. */
#define CGROUP_REFRESH_SCANS 64

static __always_inline __u32 current_epoch(void) { return scan_tick & (OUTLIER_EXIT_EPOCHS - 1); }

/* Who, where and how large a process of one thread is, is told again after this many scans even if nothing seems to have
 * changed. */
#define IN_FULL_SCANS 8

/* The thread's state; made here for threads that lived before attach, whose past is nobody's. */
static __always_inline struct thread_state *meet(struct task_struct *task) {
  struct thread_state *state = state_of(task);
  if (state) return state;
  state = bpf_task_storage_get(&thread_states, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!state) {
    count_failure(OUTLIER_FAILURE_STORAGE_CREATE);
    return 0;
  }
  state->account = task->flags & PF_KTHREAD ? OUTLIER_ACCOUNT_KERNEL : OUTLIER_ACCOUNT_UNATTRIBUTED;
  state->threaded = task->signal->nr_threads != 1 || task->signal->sum_sched_runtime;
  if (task->start_time < attached_ns) {
    read_counters(task, &state->counted);
  } else {
    count_failure(OUTLIER_FAILURE_FORK_UNSEEN);
  }
  return state;
}

/* Age of the call the thread is in, 0 if none or if it may wait for others as long as it likes. */
static __noinline __u64 in_flight_age(struct task_struct *task, struct thread_state *state, __u32 *class) {
  if (!task || !state || !class) return 0;
  const __u64 start = state->call_start_ns;
  if (!start || start + IN_FLIGHT_LEAST_NS > scan_ns) return 0;
  const __u32 call = state->call;
  *class = call & OUTLIER_SYSCALL_CLASS_MASK;
  if (*class == OUTLIER_CLASS_BLOCKING) return 0;
  if (call & OUTLIER_SYSCALL_BY_FILE && look_at_file(task, state->call_argument) != FILE_KIND_FILE) return 0;
  return scan_ns - start;
}

/* The low bits of an address, relative to the task's. The verifier lets pointers be subtracted, but not cut or shifted. */
static __always_inline __u32 address_bits(const void *pointer, const struct task_struct *task) {
  const __u64 difference = (__u64)pointer - (__u64)task;
  return difference >> 3;
}

static __always_inline __u64 cached_cgroup_id(struct task_struct *leader, struct thread_state *state) {
  struct css_set *set = leader->cgroups;
  const __u32 address = address_bits(set, leader);
  if (state->css_set != address || ((scan_tick ^ leader->pid) & (CGROUP_REFRESH_SCANS - 1)) == 0) {
    state->css_set = address;
    state->cgroup_id = read_cgroup_id(set);
  }
  return state->cgroup_id;
}

/* An executable that a workload runs is worth an event when it is executed again: it may live too short for a scan. */
static __always_inline void know_executable(struct task_struct *leader, struct thread_state *state) {
  if (state->flags & THREAD_EXECUTABLE_KNOWN || !assignment_of(leader)) return;
  struct inode *inode = BPF_CORE_READ(leader, mm, exe_file, f_inode);
  if (!inode) return;
  struct outlier_executable executable = {.inode = BPF_CORE_READ(inode, i_ino), .device = BPF_CORE_READ(inode, i_sb, s_dev)};
  struct outlier_executable_use use = {};
  if (bpf_map_update_elem(&known_executables, &executable, &use, BPF_NOEXIST) == -12 /* ENOMEM */)
    count_failure(OUTLIER_FAILURE_KNOWN_FULL);
  state->flags |= THREAD_EXECUTABLE_KNOWN;
}

static __always_inline void fill_counters(struct outlier_process *process, const struct counters *from) {
  process->cpu_ns = from->cpu_ns;
  process->run_delay_ns = from->run_delay_ns;
  process->voluntary_switches = from->voluntary_switches;
  process->involuntary_switches = from->involuntary_switches;
  process->major_faults = from->major_faults;
  process->read_bytes = from->read_bytes;
  process->write_bytes = from->write_bytes;
}

/* Changes when the process executes or takes another user (both bring new credentials), or faults. Without a fault a resident set
 * only shrinks: by a call of class memory, which syscall_latency notes, or by what the kernel reclaims. Never 0. */
static __always_inline __u32 fingerprint(struct task_struct *leader) {
  const __u32 faults = leader->min_flt + leader->maj_flt;
  return (faults * 2654435761u ^ address_bits(leader->cred, leader)) | 1;
}

/* To the reader of the iterator, or, where there is none, to the array. False if there is no room: the iterator shows the same
 * thread again then. */
static __always_inline bool write_record(struct seq_file *seq, const struct outlier_process *process) {
  if (seq) return bpf_seq_write(seq, process, sizeof *process) == 0;
  const __u32 at = records_written;
  struct outlier_process *record = bpf_map_lookup_elem(&scan_records, &at);
  if (!record) {
    ++records_refused;
    count_failure(OUTLIER_FAILURE_SCAN_FULL);
    return false;
  }
  *record = *process;
  records_written = at + 1;
  return true;
}

/* Completes and writes the record; false if there is no room. */
static __always_inline bool tell(struct seq_file *seq, struct task_struct *leader, struct thread_state *state,
                                 struct outlier_process *process) {
  process->start_time_ns = leader->start_boottime;
  process->pid = leader->tgid;
  process->parent_pid = leader->real_parent->tgid;
  process->threads = leader->signal->nr_threads;
  /* Every kernel thread is charged to that account, so that the flags of all others need not be fetched. */
  if (state->account == OUTLIER_ACCOUNT_KERNEL && leader->flags & PF_KTHREAD) process->flags |= OUTLIER_PROCESS_KERNEL_THREAD;
  else know_executable(leader, state);
  const __u32 now = fingerprint(leader);
  const bool brief = process->threads == 1 && state->told == now && ((scan_tick ^ leader->pid) & (IN_FULL_SCANS - 1)) != 0;
  if (brief) {
    process->flags |= OUTLIER_PROCESS_BRIEF;
    process->cgroup_id = state->cgroup_id;
  } else {
    process->cgroup_id = cached_cgroup_id(leader, state);
    process->user_id = leader->cred->uid.val;
    BPF_CORE_READ_INTO(&process->comm, leader, comm);
    struct mm_struct *mm = leader->mm;
    if (mm) read_resident(mm, process);
  }
  if (!write_record(seq, process)) return false;
  state->told = now;
  state->flags |= THREAD_REPORTED;
  return true;
}

/* A process of one thread. */
static __always_inline bool tell_single(struct seq_file *seq, struct task_struct *task, struct thread_state *state,
                                        struct counters *counters) {
  struct outlier_process process = {};
  if (state->threaded) {
    struct counters released;
    read_released(task->signal, &released);
    struct process_sums *sums = bpf_task_storage_get(&process_sums, task, 0, 0);
    if (sums) released.run_delay_ns = sums->released_run_delay_ns;
    add_counters(counters, &released);
  }
  fill_counters(&process, counters);
  process.in_flight_ns = in_flight_age(task, state, &process.in_flight_class);
  return tell(seq, task, state, &process);
}

static __always_inline void begin_sums(struct process_sums *sums, struct signal_struct *signal) {
  sums->tick = scan_tick;
  sums->visited = 0;
  sums->emitted = 0;
  sums->in_flight_ns = 0;
  sums->in_flight_class = 0;
  __builtin_memset(&sums->living, 0, sizeof sums->living);
  read_released(signal, &sums->released);
  sums->released.run_delay_ns = sums->released_run_delay_ns;
  __sync_fetch_and_add(&processes_pending, 1);
}

static __always_inline bool tell_sums(struct seq_file *seq, struct task_struct *leader, struct thread_state *state,
                                      struct process_sums *sums, bool consistent) {
  struct outlier_process process = {};
  if (consistent || !sums->has_last) {
    sums->last = sums->living;
    add_counters(&sums->last, &sums->released);
    sums->has_last = consistent;
  }
  if (!consistent) {
    process.flags |= OUTLIER_PROCESS_STALE;
    count_failure(OUTLIER_FAILURE_SCAN_STALE);
  }
  fill_counters(&process, &sums->last);
  process.in_flight_ns = sums->in_flight_ns;
  process.in_flight_class = sums->in_flight_class;
  if (!tell(seq, leader, state, &process)) return false;
  sums->emitted = 1;
  __sync_fetch_and_add(&processes_pending, -1);
  return true;
}

/* One thread of a process that has several. */
static __always_inline void meet_member(struct seq_file *seq, struct task_struct *task, struct task_struct *leader,
                                       struct thread_state *state, struct counters *counters, __u32 threads) {
  struct process_sums *sums = bpf_task_storage_get(&process_sums, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!sums) {
    count_failure(OUTLIER_FAILURE_SUMS_CREATE);
    return;
  }
  if (sums->tick != scan_tick) begin_sums(sums, task->signal);
  if (state->seen_tick != scan_tick) {
    state->seen_tick = scan_tick;
    if (state->exited) counters->run_delay_ns = 0; /* exit has added it to released_run_delay_ns */
    add_counters(&sums->living, counters);
    __u32 class = 0;
    const __u64 age = in_flight_age(task, state, &class);
    if (age > sums->in_flight_ns) {
      sums->in_flight_ns = age;
      sums->in_flight_class = class;
    }
    ++sums->visited;
  }
  if (sums->visited != threads || sums->emitted || task->signal->sum_sched_runtime != sums->released.cpu_ns) return;
  struct thread_state *leader_state = state_of(leader);
  if (leader_state) tell_sums(seq, leader, leader_state, sums, true);
}

static __always_inline void meet_task(struct seq_file *seq, struct task_struct *task) {
  struct task_struct *leader = task->group_leader;
  const bool is_leader = task->pid == task->tgid;

  if (scan_again) {
    if (!is_leader) return;
    struct process_sums *sums = bpf_task_storage_get(&process_sums, leader, 0, 0);
    struct thread_state *state = state_of(leader);
    if (sums && state && sums->tick == scan_tick && !sums->emitted && task->signal->live.counter)
      tell_sums(seq, leader, state, sums, false);
    return;
  }

  struct thread_state *state = meet(task);
  if (!state) return;
  struct counters counters;
  read_counters(task, &counters);
  if (state->assignments != assignments_made && !state->exited) {
    state->account = account_of(task, state);
    state->assignments = assignments_made;
  }
  /* Who did not run has counted nothing else either. */
  if (counters.cpu_ns != state->counted.cpu_ns) charge_to(state, state->account, &counters);
  if (state->exited && state->epoch != current_epoch()) { /* a zombie: its free is still to come */
    __sync_fetch_and_add(&exits[state->epoch & (OUTLIER_EXIT_EPOCHS - 1)], -1);
    state->epoch = current_epoch();
    __sync_fetch_and_add(&exits[state->epoch & (OUTLIER_EXIT_EPOCHS - 1)], 1);
  }
  if (state->pending_calls) move_pending(state, state->account);
  if (state->spilled) {
    state->spilled = 0;
    struct process_syscalls *syscalls = bpf_task_storage_get(&process_syscalls, leader, 0, 0);
    if (syscalls) move_syscalls(syscalls, state->account);
  }
  const __u32 threads = task->signal->nr_threads;
  if (!task->signal->live.counter) return; /* ended, not yet waited for */
  if (threads == 1 && is_leader) {
    tell_single(seq, task, state, &counters);
    return;
  }
  meet_member(seq, task, leader, state, &counters, threads);
}

SEC("iter/task")
int tasks_scan(struct bpf_iter__task *ctx) {
  struct task_struct *task = ctx->task;
  if (task) meet_task(ctx->meta->seq, task);
  return 0;
}

/* A function of its own to the verifier, which would otherwise try all its paths again for each of the next. */
__noinline int walk_task(struct task_struct *task __arg_trusted) {
  bpf_rcu_read_lock();
  meet_task(0, task);
  bpf_rcu_read_unlock();
  return 0;
}

/* The same by the kernel's list of tasks (6.9), run by userspace: a third of the cost. */
SEC("syscall")
int tasks_walk(void *ctx) {
  struct bpf_iter_task iterator;
  struct task_struct *task;
  const __u64 storage_slot = storage_slot_offset();
  bpf_rcu_read_lock();
  bpf_iter_task_new(&iterator, 0, BPF_TASK_ITER_ALL_THREADS);
  while ((task = bpf_iter_task_next(&iterator))) {
    if (!task->tgid) continue; /* what a CPU does when it does nothing */
    if (task->pid == task->tgid) look_ahead(task, storage_slot);
    walk_task(task);
  }
  bpf_iter_task_destroy(&iterator);
  bpf_rcu_read_unlock();
  return 0;
}

/* Run once after load: where each CPU's part of a per-CPU allocation lies. The address of this map's own slot 0 on a CPU is
 * pptrs[0] + offset(cpu), and the helper gives that sum: userspace subtracts. (`__per_cpu_offset` is no symbol on kernels
 * without KALLSYMS_ALL.)
 */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} percpu_yardstick SEC(".maps");
__u32 percpu_yardstick_id = 0;  /* set by userspace */
__u64 percpu_yardstick_base = 0;

SEC("iter/bpf_map")
int tasks_percpu_offsets(struct bpf_iter__bpf_map *ctx) {
  struct bpf_map *map = ctx->map;
  if (!map || map->id != percpu_yardstick_id) return 0;
  bpf_probe_read_kernel(&percpu_yardstick_base, sizeof percpu_yardstick_base,
                        (char *)map + bpf_core_field_offset(struct bpf_array, pptrs));
  __u32 zero = 0;
  for (__u32 cpu = 0; cpu < possible_cpus && cpu < MAX_CPUS; ++cpu)
    percpu_offsets[cpu] = (__u64)bpf_map_lookup_percpu_elem(&percpu_yardstick, &zero, cpu);
  return 0;
}
