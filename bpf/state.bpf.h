/* What the programs share: per-task state, the maps, and the knobs that userspace sets before and between ticks. */
#ifndef OUTLIER_BPF_STATE_BPF_H_
#define OUTLIER_BPF_STATE_BPF_H_

#include "bpf/abi.h"
#include "bpf/core_compat.bpf.h"
#include "bpf/kernel_types.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* The seven counters that the kernel keeps per thread. */
struct counters {
  __u64 cpu_ns;
  __u64 run_delay_ns;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
  __u64 major_faults;
  __u64 read_bytes;
  __u64 write_bytes;
};

/* Of every thread. With what the kernel puts around it, it fits a slab object of 192 bytes; the first 56 bytes share a cache
 * line with the kernel's own header, and are all that a call of a process that slept needs. */
struct thread_state {
  __u64 call_start_ns;  /* monotonic; 0 = in no call */
  __u32 call_argument;  /* the descriptor, where the call has one */
  __u8 call;            /* entry of the syscall table */
  __u8 exited;
  __u8 epoch;           /* of exits[], valid when exited */
  __u8 flags;           /* THREAD_*; written by the scan, and by exec in the thread's own context */
  __u16 account;
  __u8 spilled;         /* calls of this thread are in process_syscalls since the last scan */
  __u8 threaded;        /* leader: its process has, or has had, other threads */
  __u32 ended;          /* leader: the process's end was counted */
  __u64 pending_calls;  /* ended calls of one class and bucket, see pending_calls.bpf.h; 0 = none */
  __u32 told;           /* leader: fingerprint of what was told in full, see tell(); 0 = nothing yet */
  __u32 css_set;        /* leader: address bits of the css_set that cgroup_id belongs to */
  __u64 cgroup_id;
  struct counters counted;
  __u32 seen_tick;
  __u32 assignments;    /* `account` is right as of this many assignments */
};
#define THREAD_REPORTED 1u         /* leader: userspace has seen this process in a scan */
#define THREAD_EXECUTABLE_KNOWN 2u /* leader: its executable is in known_executables */
_Static_assert(sizeof(struct thread_state) <= 112, "one slab object of 192 bytes with the kernel's 72 + 8");

/* Of the leader of a process with more than one thread. */
_Static_assert(OUTLIER_ACCOUNTS <= 1 << 16, "an account fits");
struct process_sums {
  __u32 tick;            /* of the scan that `living` belongs to */
  __u32 visited;         /* threads of this scan */
  __u32 emitted;
  __u32 has_last;
  __u64 in_flight_ns;
  __u32 in_flight_class;
  __u32 padding;
  __u64 released_run_delay_ns; /* of threads that ended; the kernel forgets it */
  struct counters released;    /* of threads that ended, as the scan began */
  struct counters living;
  struct counters last;        /* what was told last */
};

/* Of every leader that makes calls. 72 + 1,952 bytes: one slab object of 2 KiB. */
struct process_syscalls {
  struct {                 /* side by side: a call by a process that slept touches one cold cache line less */
    __u64 dirty;           /* bit b: bucket b has counted since the last move; most stay untouched in memory */
    __u64 duration_sum_ns;
  } classes[OUTLIER_SYSCALL_CLASSES];
  __u32 errors[OUTLIER_SYSCALL_CLASSES];
  __u32 buckets[OUTLIER_SYSCALL_CLASSES][OUTLIER_DURATION_BUCKETS];
  __u64 file_kinds[16]; /* two bits for each of the first 512 descriptors */
};
_Static_assert(sizeof(struct process_syscalls) <= 1968, "one slab object of 2 KiB with the kernel's 72 + 8");

/* Cumulative counters, read by userspace through mmap. Full: further workloads are charged to account 0. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, OUTLIER_ACCOUNTS);
  __type(key, __u32);
  __type(value, struct outlier_account);
} accounts SEC(".maps");

/* tgid -> account. Full (more processes than this): further processes stay with their parent's account. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 131072);
  __type(key, __u32);
  __type(value, struct outlier_assignment);
} assigned SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct thread_state);
} thread_states SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct process_sums);
} process_sums SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct process_syscalls);
} process_syscalls SEC(".maps");

/* Syscalls of the first accounts, read by userspace through mmap. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, OUTLIER_MAPPED_ACCOUNTS);
  __type(key, __u32);
  __type(value, struct outlier_syscalls);
} mapped_syscalls SEC(".maps");

/* Of all others: made on first use. At most one per account. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, OUTLIER_ACCOUNTS);
  __type(key, __u32);
  __type(value, struct outlier_syscalls);
} account_syscalls SEC(".maps");

/* Executables of assigned processes, filled by userspace as it assigns and by the scan; the least recently used is
 * forgotten when full.
 */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct outlier_executable);
  __type(value, struct outlier_executable_use);
} known_executables SEC(".maps");

/* Rare events. Full: counted by kind. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 2 << 20);
} events SEC(".maps");

/* What a walk over the list of tasks found, read by userspace through mmap. Full (more processes than this): the rest is
 * missing from this tick, counted, and userspace goes over to the scan by number, which has no such limit. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, OUTLIER_SCAN_RECORDS);
  __type(key, __u32);
  __type(value, struct outlier_process);
} scan_records SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, OUTLIER_FAILURES);
  __type(key, __u32);
  __type(value, __u64);
} failures SEC(".maps");

/* Set before load. */
const volatile __u8 syscall_table[OUTLIER_SYSCALLS] = {}; /* class and OUTLIER_SYSCALL_* bits by number */
const volatile __u64 futex_waits = 0;            /* bit mask of the futex operations that wait */
const volatile __u64 slow_call_ns = 20000;       /* from here on the kind of an unremembered file is looked at */
const volatile __u32 exec_events_per_tick = 64;  /* of one executable */
const volatile __u32 possible_cpus = 0;
const volatile __u64 events_bytes = 2 << 20;

/* Written by userspace between ticks. One scan at a time. */
__u64 attached_ns = 0;  /* monotonic: younger threads are charged from zero */
__u64 scan_ns = 0;      /* monotonic: when this scan began */
__u32 scan_tick = 0;    /* 1, 2, 3 ... */
__u32 scan_again = 0;   /* second pass: only what the first could not tell */
__u32 assignments_made = 0; /* grows with every change of `assigned` by userspace: the scan looks processes up once for each */
__u64 percpu_offsets[256] = {};
__u32 percpu_offsets_known = 0; /* else resident sizes are approximate */

/* Written by the programs. */
__u32 records_written = 0;    /* of scan_records, by the walk under way; userspace sets it back */
__u32 records_refused = 0;    /* for want of room */
__u64 processes_pending = 0;  /* processes that the first pass began and could not tell */
__u64 exits[OUTLIER_EXIT_EPOCHS] = {};  /* thread exits by the tick they were last seen in */
__u64 frees[OUTLIER_EXIT_EPOCHS] = {};

static __always_inline void count_failure(__u32 reason) {
  __u64 *count = bpf_map_lookup_elem(&failures, &reason);
  if (count) ++*count;
}

static __always_inline struct thread_state *state_of(struct task_struct *task) {
  return bpf_task_storage_get(&thread_states, task, 0, 0);
}

static __always_inline struct outlier_account *account_slot(__u32 account) {
  return bpf_map_lookup_elem(&accounts, &account);
}

/* The assignment of the task's process, if userspace made one for this very execution. */
static __always_inline struct outlier_assignment *assignment_of(struct task_struct *task) {
  __u32 tgid = task->tgid;
  struct outlier_assignment *assignment = bpf_map_lookup_elem(&assigned, &tgid);
  if (!assignment || assignment->start_time_ns != task->group_leader->start_boottime) return 0;
  return assignment;
}

static __always_inline __u32 account_of(struct task_struct *task, struct thread_state *state) {
  struct outlier_assignment *assignment = assignment_of(task);
  if (assignment) return assignment->account;
  return state ? state->account : OUTLIER_ACCOUNT_UNATTRIBUTED;
}

#endif  /* OUTLIER_BPF_STATE_BPF_H_ */
