/* Probe `lifecycle`: births, ends and what a thread used between its last scan and its release.
 *
 * Hooks: tp_btf/sched_process_{fork,exec,exit,free} and mark_victim: tracepoints, their arguments checked against BTF.
 * Cost: about 1 us a process. Events go out only for processes that userspace knows or that failed; everything else is
 * a counter of its account. Cannot see: what became of the CPU time of a thread whose free is never shown (counted).
 */
#include "bpf/accounting.bpf.h"
#include "bpf/cgroup.bpf.h"
#include "bpf/file_kind.bpf.h"
#include "bpf/oom.bpf.h"

/* A thread inherits the account of the process that makes it; before it runs for the first time. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(lifecycle_fork, struct task_struct *parent, struct task_struct *child) {
  const __u32 account =
      child->flags & PF_KTHREAD ? OUTLIER_ACCOUNT_KERNEL : account_of(parent, state_of(parent));
  struct thread_state *state = bpf_task_storage_get(&thread_states, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (state) {
    state->account = account;
  } else {
    count_failure(OUTLIER_FAILURE_STORAGE_CREATE);
  }
  if (child->pid == child->tgid) {
    struct outlier_account *slot = account_slot(account);
    if (slot) __sync_fetch_and_add(&slot->started, 1);
  } else {
    struct thread_state *leader_state = state_of(child->group_leader);
    if (leader_state) leader_state->threaded = 1;
  }
  return 0;
}

static __always_inline void fill_event(struct outlier_event *event, __u32 kind, struct task_struct *task, __u32 account) {
  event->kind = kind;
  event->pid = task->tgid;
  event->parent_pid = task->group_leader->real_parent->tgid;
  event->user_id = task->cred->uid.val;
  event->account = account;
  event->padding = 0;
  event->time_ns = bpf_ktime_get_boot_ns();
  event->start_time_ns = task->group_leader->start_boottime;
  event->cgroup_id = read_cgroup_id(task->cgroups);
  BPF_CORE_READ_INTO(&event->comm, task, group_leader, comm);
}

/* Events that many processes may cause leave the rest of the ring to those that are rare. */
static __always_inline bool ring_is_fuller_than(__u64 quarters) {
  return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > events_bytes / 4 * quarters;
}

static __always_inline void send_end(struct task_struct *task, struct thread_state *leader_state, __u32 account) {
  const bool known = (leader_state && leader_state->flags & THREAD_REPORTED) || assignment_of(task);
  if (!known && !task->exit_code) return;
  struct outlier_end_event *end = 0;
  if (known || !ring_is_fuller_than(3)) end = bpf_ringbuf_reserve(&events, sizeof *end, 0);
  if (!end) {
    count_failure(OUTLIER_FAILURE_RING_FULL_END);
    return;
  }
  fill_event(&end->event, OUTLIER_EVENT_END, task, account);
  end->wait_status = task->exit_code; /* of the last thread: what waitpid gives */
  end->padding = 0;
  end->cpu_ns = task->signal->sum_sched_runtime + task->se.sum_exec_runtime;
  if (task->pid != task->tgid) end->cpu_ns += task->group_leader->se.sum_exec_runtime;
  bpf_ringbuf_submit(end, 0);
}

/* The process ends with its last thread. `live` may be 0 for two threads that end at once: counted for the first. */
static __always_inline void end_process(struct task_struct *task, struct thread_state *leader_state, __u32 account) {
  if (leader_state && __sync_lock_test_and_set(&leader_state->ended, 1)) return;
  struct outlier_account *slot = account_slot(account);
  const int code = task->exit_code;
  if (slot) {
    __sync_fetch_and_add(&slot->ended, 1);
    if (code & 0x7f) __sync_fetch_and_add(&slot->exits_by_signal, 1);
    else if (code) __sync_fetch_and_add(&slot->exits_by_code, 1);
  }
  send_end(task, leader_state, account);
  if (assignment_of(task)) {
    __u32 tgid = task->tgid;
    bpf_map_delete_elem(&assigned, &tgid);
  }
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(lifecycle_exit, struct task_struct *task) {
  struct task_struct *leader = task->group_leader;
  struct thread_state *state = state_of(task);
  const __u32 account = account_of(task, state);
  const bool process_ends = task->signal->live.counter == 0;
  struct counters counters;
  read_counters(task, &counters);

  if (state) {
    state->account = account; /* the assignment may be gone when the thread is freed */
    state->call_start_ns = 0;
    const __u32 epoch = scan_tick & (OUTLIER_EXIT_EPOCHS - 1);
    state->epoch = epoch;
    state->exited = 1;
    __sync_fetch_and_add(&exits[epoch], 1);
    charge_to(state, account, &counters);
    move_pending(state, account);
  } else {
    count_failure(OUTLIER_FAILURE_EXIT_UNKNOWN);
  }
  if (!process_ends) { /* the kernel keeps a released thread's CPU time for its process, but not its run delay */
    struct process_sums *sums = bpf_task_storage_get(&process_sums, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (sums) __sync_fetch_and_add(&sums->released_run_delay_ns, counters.run_delay_ns);
    else count_failure(OUTLIER_FAILURE_SUMS_CREATE);
  }
  /* Also when only the leader leaves: after exec by another thread its storage goes away with it. */
  if (process_ends || task->pid == task->tgid) {
    struct process_syscalls *syscalls = bpf_task_storage_get(&process_syscalls, leader, 0, 0);
    if (syscalls) move_syscalls(syscalls, account);
  }
  if (process_ends) end_process(task, task == leader ? state : state_of(leader), account);
  return 0;
}

/* Where CPU time is final: 15 ms or so after exit, when nothing can run on the task's behalf any more. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(lifecycle_free, struct task_struct *task) {
  struct thread_state *state = state_of(task);
  if (!state) return 0;
  struct counters counters;
  read_counters(task, &counters);
  charge_to(state, state->account, &counters);
  if (state->exited) __sync_fetch_and_add(&frees[state->epoch & (OUTLIER_EXIT_EPOCHS - 1)], 1);
  return 0;
}

static __always_inline bool is_worth_an_event(const struct outlier_executable *executable) {
  struct outlier_executable_use *use = bpf_map_lookup_elem(&known_executables, executable);
  if (!use) return false;
  if (use->tick != scan_tick) {
    use->tick = scan_tick;
    use->told = 0;
  }
  if (__sync_fetch_and_add(&use->told, 1) < exec_events_per_tick && !ring_is_fuller_than(2)) return true;
  count_failure(OUTLIER_FAILURE_EXEC_RATE);
  return false;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(lifecycle_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm) {
  struct thread_state *state = state_of(task);
  struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
  struct outlier_executable executable = {.inode = BPF_CORE_READ(inode, i_ino), .device = BPF_CORE_READ(inode, i_sb, s_dev)};
  struct process_syscalls *syscalls = bpf_task_storage_get(&process_syscalls, task, 0, 0);
  if (syscalls) forget_all_kinds(syscalls);
  const bool known = (state && state->flags & THREAD_REPORTED) || assignment_of(task);
  if (state) state->flags &= ~THREAD_EXECUTABLE_KNOWN;
  if (!known && !is_worth_an_event(&executable)) return 0;

  struct outlier_exec_event *exec = bpf_ringbuf_reserve(&events, sizeof *exec, 0);
  if (!exec) {
    count_failure(OUTLIER_FAILURE_RING_FULL_EXEC);
    return 0;
  }
  fill_event(&exec->event, OUTLIER_EVENT_EXEC, task, account_of(task, state));
  exec->executable_inode = executable.inode;
  exec->executable_device = executable.device;
  exec->executable_size = BPF_CORE_READ(inode, i_size);
  exec->executable_mtime_ns = inode_mtime_ns(inode);
  exec->path[0] = 0;
  exec->arguments_bytes = 0;
  if (bpf_probe_read_kernel_str(exec->path, sizeof exec->path, BPF_CORE_READ(bprm, interp)) < 0)
    count_failure(OUTLIER_FAILURE_EXEC_READ);
  /* The stack of the new program was written a moment ago: its pages are there. */
  const __u64 from = BPF_CORE_READ(task, mm, arg_start), to = BPF_CORE_READ(task, mm, arg_end);
  __u64 bytes = to > from ? to - from : 0;
  if (bytes > OUTLIER_EXEC_BYTES) bytes = OUTLIER_EXEC_BYTES;
  if (bytes && bpf_probe_read_user(exec->arguments, bytes, (void *)from)) {
    count_failure(OUTLIER_FAILURE_EXEC_READ);
    bytes = 0;
  }
  exec->arguments_bytes = bytes;
  bpf_ringbuf_submit(exec, 0);
  return 0;
}

static __always_inline struct outlier_oom_event *begin_oom(void) {
  struct outlier_oom_event *oom = bpf_ringbuf_reserve(&events, sizeof *oom, 0);
  if (!oom) count_failure(OUTLIER_FAILURE_RING_FULL_OOM);
  return oom;
}

/* Since 6.10, and in the later 6.1, the tracepoint hands over the task. The loader picks one of the two by the tracepoint's prototype. */
SEC("tp_btf/mark_victim")
int BPF_PROG(lifecycle_oom_task, struct task_struct *victim) {
  struct outlier_oom_event *oom = begin_oom();
  if (!oom) return 0;
  fill_event(&oom->event, OUTLIER_EVENT_OOM_VICTIM, victim, account_of(victim, state_of(victim)));
  name_constraint(victim, oom);
  bpf_ringbuf_submit(oom, 0);
  return 0;
}

/* Before: a pid. The cgroup is the allocating task's, which met the same limit; userspace adds what it knows of the pid. */
SEC("tp_btf/mark_victim")
int BPF_PROG(lifecycle_oom_pid, int pid) {
  struct outlier_oom_event *oom = begin_oom();
  if (!oom) return 0;
  struct task_struct *current = bpf_get_current_task_btf();
  fill_event(&oom->event, OUTLIER_EVENT_OOM_VICTIM, current, OUTLIER_ACCOUNT_UNATTRIBUTED);
  oom->event.pid = pid;
  oom->event.start_time_ns = 0;
  name_constraint(current, oom);
  bpf_ringbuf_submit(oom, 0);
  return 0;
}
