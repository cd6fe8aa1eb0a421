/* What crosses between the kernel programs and userspace: map values, iterator records, ring buffer events.
 *
 * The only header both sides include: fixed-width types, explicit padding, no enums, bools, pointers or bit fields.
 * Sizes and offsets are asserted below in C and C++, and a test compares them with the BTF of the built object.
 * Times are nanoseconds; "since boot" is CLOCK_BOOTTIME, "monotonic" is CLOCK_MONOTONIC.
 */
#ifndef OUTLIER_BPF_ABI_H_
#define OUTLIER_BPF_ABI_H_

#include <linux/types.h>

#ifdef __cplusplus
#include <cstddef>
#define OUTLIER_ABI_ASSERT(condition, text) static_assert(condition, text)
#else
#define OUTLIER_ABI_ASSERT(condition, text) _Static_assert(condition, text)
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#endif

#define OUTLIER_ACCOUNTS 8192u          /* slots processes are charged to; further workloads share account 0 */
#define OUTLIER_MAPPED_ACCOUNTS 1024u   /* whose histograms userspace reads without a call; more than most hosts ever use */
#define OUTLIER_ACCOUNT_UNATTRIBUTED 0u
#define OUTLIER_ACCOUNT_KERNEL 1u
#define OUTLIER_SYSCALL_CLASSES 8u      /* order: userspace/stream/syscall_class.h */
#define OUTLIER_CLASS_FILE 0u
#define OUTLIER_CLASS_MEMORY 2u
#define OUTLIER_CLASS_BLOCKING 6u
#define OUTLIER_CLASS_OTHER 7u
#define OUTLIER_DURATION_BUCKETS 52u
#define OUTLIER_SYSCALLS 1024u          /* table size, a power of two; larger numbers are of class other */
#define OUTLIER_SCAN_RECORDS 16384u     /* processes that a walk over the list of tasks has room for */
#define OUTLIER_EXIT_EPOCHS 16u         /* a power of two */
#define OUTLIER_EXEC_BYTES 256u         /* of path and of arguments carried by an exec event */
#define OUTLIER_COMM_BYTES 16u

/* Bits of an entry of the syscall table; the low bits hold the class. */
#define OUTLIER_SYSCALL_CLASS_MASK 0x07u
#define OUTLIER_SYSCALL_BY_FILE 0x08u    /* argument 0 is a descriptor: class file, or blocking if it is no regular file */
#define OUTLIER_SYSCALL_BY_FUTEX 0x10u   /* argument 1 is a futex operation: the waiting ones are blocking */
#define OUTLIER_SYSCALL_CLOSES 0x20u     /* argument 0 is a descriptor that now means something else */
#define OUTLIER_SYSCALL_CLOSES_ALL 0x40u /* any descriptor may mean something else now */

/* What was charged to an account since attach. Every nanosecond is in exactly one account; all fields only grow. */
struct outlier_account {
  __u64 cpu_ns;
  __u64 run_delay_ns;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
  __u64 major_faults;
  __u64 read_bytes;
  __u64 write_bytes;
  __u64 started;
  __u64 ended;
  __u64 exits_by_code;
  __u64 exits_by_signal;
  __u64 syscalls_moved; /* grows whenever this account's outlier_syscalls did */
  __u32 classes_moved[OUTLIER_SYSCALL_CLASSES]; /* likewise, by class; two cache lines: neighbours do not disturb each other */
};

/* Which account a process is charged to. Key: tgid. */
struct outlier_assignment {
  __u64 start_time_ns; /* since boot: a reused pid does not match */
  __u32 account;
  __u32 padding;
};

/* A program on disk, as the kernel names it. */
struct outlier_executable {
  __u64 inode;
  __u32 device; /* (major << 20) | minor, the kernel's own form */
  __u32 padding;
};
/* Of one executable whose starts are told. */
struct outlier_executable_use {
  __u32 tick;
  __u32 told; /* in that tick */
};

/* Syscall durations and errors; counters wrap, subtract in their own width. */
struct outlier_syscalls {
  __u64 duration_sum_ns[OUTLIER_SYSCALL_CLASSES];
  __u32 errors[OUTLIER_SYSCALL_CLASSES];
  __u32 buckets[OUTLIER_SYSCALL_CLASSES][OUTLIER_DURATION_BUCKETS];
};

/* One living process at a tick, threads summed. */
struct outlier_process {
  __u64 start_time_ns; /* since boot */
  __s32 pid;
  __s32 parent_pid;
  __u32 user_id;
  __u32 threads;
  __u32 flags; /* OUTLIER_PROCESS_* */
  __u32 in_flight_class;
  __u64 cgroup_id;
  __u64 cpu_ns;
  __u64 run_delay_ns;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
  __u64 major_faults;
  __u64 read_bytes;
  __u64 write_bytes;
  __s64 rss_file_pages;
  __s64 rss_anonymous_pages;
  __s64 rss_shared_pages;
  __s64 swap_pages;
  __u64 in_flight_ns;
  char comm[OUTLIER_COMM_BYTES];
};
#define OUTLIER_PROCESS_KERNEL_THREAD 1u
#define OUTLIER_PROCESS_RSS_APPROXIMATE 2u /* the per-CPU parts of the counters could not be read */
#define OUTLIER_PROCESS_STALE 4u           /* threads came or went during the scan: counters of the previous tick */
#define OUTLIER_PROCESS_BRIEF 8u           /* user, name and resident sizes are not told: they are those of the record before */

#define OUTLIER_EVENT_EXEC 1u
#define OUTLIER_EVENT_END 2u
#define OUTLIER_EVENT_OOM_VICTIM 3u

struct outlier_event {
  __u32 kind;
  __s32 pid; /* tgid */
  __s32 parent_pid;
  __u32 user_id;
  __u32 account;
  __u32 padding;
  __u64 time_ns;       /* since boot */
  __u64 start_time_ns; /* since boot; 0 = unknown */
  __u64 cgroup_id;
  char comm[OUTLIER_COMM_BYTES];
};

struct outlier_end_event {
  struct outlier_event event;
  __s32 wait_status; /* as waitpid(2) gives it */
  __u32 padding;
  __u64 cpu_ns;
};

struct outlier_exec_event {
  struct outlier_event event;
  __u64 executable_inode;
  __u64 executable_size;
  __s64 executable_mtime_ns;
  __u32 executable_device; /* (major << 20) | minor, the kernel's own form */
  __u32 arguments_bytes;   /* of `arguments`, NUL-separated, cut at OUTLIER_EXEC_BYTES */
  char path[OUTLIER_EXEC_BYTES]; /* of the program that runs: the interpreter where a script was executed */
  char arguments[OUTLIER_EXEC_BYTES];
};

#define OUTLIER_OOM_NONE 0u
#define OUTLIER_OOM_HOST 1u
#define OUTLIER_OOM_MEMORY 2u
#define OUTLIER_OOM_MEMORY_AND_SWAP 3u
struct outlier_oom_event {
  struct outlier_event event;
  __u32 constraint;
  __s32 killer_pid; /* the process whose allocation met the limit */
  __u64 limit_pages;
};

/* Indices of `failures`: a per-CPU count each of what could not be done. */
#define OUTLIER_FAILURE_LIST(X)                                                                    \
  X(STORAGE_CREATE, storage_create_failed, "a thread got no storage; its CPU time may be unattributed")         \
  X(SUMS_CREATE, sums_create_failed, "a process with threads got no storage; it is missing from this tick")     \
  X(SYSCALLS_CREATE, syscalls_create_failed, "a process got no histogram; a call of it was not counted")        \
  X(ACCOUNT_SYSCALLS, account_syscalls_failed, "an account got no histogram; some of its calls were not counted") \
  X(FORK_UNSEEN, fork_unseen, "a thread was born after attach without its fork having been seen")               \
  X(EXIT_UNKNOWN, exit_unknown, "a thread ended before its first scan; its last CPU time is not charged")       \
  X(RING_FULL_EXEC, ring_full_exec, "an exec event found the ring buffer full")                                 \
  X(RING_FULL_END, ring_full_end, "an end event found the ring buffer full; the end is counted in its account") \
  X(RING_FULL_OOM, ring_full_oom, "an OOM event found the ring buffer full")                                    \
  X(EXEC_RATE, exec_over_rate, "an executable was started more often in one tick than events are sent for it")  \
  X(EXEC_READ, exec_read_failed, "arguments or path of an exec could not be read")                              \
  X(RSS_APPROXIMATE, rss_approximate, "resident sizes without their per-CPU parts (off by up to 64 pages a CPU)") \
  X(SCAN_STALE, scan_stale, "threads came or went during the scan; the process keeps its previous counters")    \
  X(SCAN_FULL, scan_full, "more processes than a scan has room for; they are missing from one tick")           \
  X(KNOWN_FULL, known_executables_failed, "an executable could not be remembered; its next exec is not told")

#define OUTLIER_FAILURE_INDEX(symbol, name, meaning) OUTLIER_FAILURE_##symbol,
enum { OUTLIER_FAILURE_LIST(OUTLIER_FAILURE_INDEX) OUTLIER_FAILURES };

OUTLIER_ABI_ASSERT(sizeof(struct outlier_account) == 128, "outlier_account");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_account, syscalls_moved) == 88, "outlier_account.syscalls_moved");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_account, classes_moved) == 96, "outlier_account.classes_moved");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_assignment) == 16, "outlier_assignment");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_executable) == 16, "outlier_executable");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_executable_use) == 8, "outlier_executable_use");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_syscalls) == 64 + 32 + 8 * 52 * 4, "outlier_syscalls");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_process) == 152, "outlier_process");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_process, cgroup_id) == 32, "outlier_process.cgroup_id");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_process, comm) == 136, "outlier_process.comm");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_event) == 64, "outlier_event");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_event, time_ns) == 24, "outlier_event.time_ns");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_end_event) == 80, "outlier_end_event");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_exec_event) == 64 + 32 + 512, "outlier_exec_event");
OUTLIER_ABI_ASSERT(offsetof(struct outlier_exec_event, path) == 96, "outlier_exec_event.path");
OUTLIER_ABI_ASSERT(sizeof(struct outlier_oom_event) == 80, "outlier_oom_event");

#endif  /* OUTLIER_BPF_ABI_H_ */
