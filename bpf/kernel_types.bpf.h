/* Kernel types, hand-kept: only the fields that are read. CO-RE finds their true offsets at load time, so order and
 * padding mean nothing here; names and types do. Variants of other kernels (___suffix) live in core_compat.bpf.h.
 */
#ifndef OUTLIER_BPF_KERNEL_TYPES_H_
#define OUTLIER_BPF_KERNEL_TYPES_H_

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

typedef _Bool bool;
#define true 1
#define false 0

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  int counter;
} atomic_t;
typedef struct {
  __s64 counter;
} atomic_long_t;

struct list_head {
  struct list_head *next, *prev;
};

struct percpu_counter {
  __s64 count;
  __s32 *counters; /* __percpu */
};

struct super_block {
  __u32 s_dev;
};
struct inode {
  unsigned short i_mode;
  struct super_block *i_sb;
  unsigned long i_ino;
  long long i_size;
};
struct file {
  struct inode *f_inode;
};
struct fdtable {
  unsigned int max_fds;
  struct file **fd;
};
struct files_struct {
  struct fdtable *fdt;
};

struct mm_struct {
  unsigned long arg_start;
  unsigned long arg_end;
  struct file *exe_file;
  struct percpu_counter rss_stat[4];
};

struct kernfs_node {
  __u64 id;
};
struct cgroup_root {
  int hierarchy_id;
  char name[64];
};
struct cgroup {
  int level;
  struct kernfs_node *kn;
  struct cgroup_root *root;
};
struct cgroup_subsys_state {
  struct cgroup *cgroup;
  struct cgroup_subsys_state *parent;
};
struct css_set {
  struct cgroup_subsys_state *subsys[16];
  struct cgroup *dfl_cgrp;
  struct list_head cgrp_links;
};
struct cgrp_cset_link {
  struct cgroup *cgrp;
  struct list_head cgrp_link;
};
enum cgroup_subsys_id { memory_cgrp_id = 4, pids_cgrp_id = 11 };

struct page_counter {
  atomic_long_t usage;
  unsigned long max;
};
struct mem_cgroup {
  struct cgroup_subsys_state css;
  struct page_counter memory;
  struct page_counter memsw;
};

typedef struct {
  __u32 val;
} kuid_t;
struct cred {
  kuid_t uid;
};

struct sched_info {
  unsigned long long run_delay;
};
struct sched_entity {
  __u64 sum_exec_runtime;
};
struct task_io_accounting {
  __u64 read_bytes;
  __u64 write_bytes;
};
struct signal_struct {
  atomic_t live;
  int nr_threads;
  unsigned long nvcsw, nivcsw, maj_flt;
  struct task_io_accounting ioac;
  unsigned long long sum_sched_runtime;
};
struct thread_info {
  __u32 status;
};
struct task_struct {
  struct thread_info thread_info;
  unsigned int flags;
  struct sched_entity se;
  struct sched_info sched_info;
  struct mm_struct *mm;
  int exit_code;
  int pid;
  int tgid;
  struct list_head tasks;
  struct task_struct *real_parent;
  struct task_struct *group_leader;
  struct list_head thread_node;
  unsigned long nvcsw, nivcsw;
  __u64 start_time;     /* monotonic */
  __u64 start_boottime; /* since boot (5.5) */
  unsigned long min_flt, maj_flt;
  const struct cred *cred;
  char comm[16];
  struct files_struct *files;
  struct signal_struct *signal;
  struct task_io_accounting ioac;
  struct css_set *cgroups;
  struct bpf_local_storage *bpf_storage;
};

struct bpf_local_storage {
  void *cache[16];
};
struct bpf_local_storage_map {
  __u16 cache_idx;
};

struct linux_binprm {
  struct file *file;
  const char *interp;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
  unsigned long di, si;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
  __u64 regs[31];
};
#endif

struct seq_file;
struct bpf_iter_meta {
  struct seq_file *seq;
};
struct bpf_iter__task {
  struct bpf_iter_meta *meta;
  struct task_struct *task;
};
struct bpf_map {
  __u32 id;
};
struct bpf_array {
  struct bpf_map map;
  void *pptrs[0]; /* __percpu */
};
struct bpf_iter__bpf_map {
  struct bpf_iter_meta *meta;
  struct bpf_map *map;
};

#pragma clang attribute pop

/* Kernel functions: weak, for an older kernel has none of them and the program that calls them is left out there. */
struct bpf_iter_task {
  __u64 opaque[3];
} __attribute__((aligned(8)));
extern int bpf_iter_task_new(struct bpf_iter_task *iterator, struct task_struct *task, unsigned int flags) __ksym __weak;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *iterator) __ksym __weak;
extern void bpf_iter_task_destroy(struct bpf_iter_task *iterator) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;
#define BPF_TASK_ITER_ALL_THREADS 1
/* Of an argument of a global function: a pointer that helpers accept (6.9). */
#ifndef __arg_trusted
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))
#endif

#define PF_KTHREAD 0x00200000
#define TS_COMPAT 0x0002 /* x86: a 32-bit system call */
#define S_IFMT 00170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFBLK 0060000
#define MM_FILEPAGES 0
#define MM_ANONPAGES 1
#define MM_SWAPENTS 2
#define MM_SHMEMPAGES 3

#endif  /* OUTLIER_BPF_KERNEL_TYPES_H_ */
