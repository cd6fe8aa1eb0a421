/* Every difference between kernel versions, and nothing else. Features are probed for (does this field exist in the
 * running kernel's BTF?), versions are only named to say what brought a difference.
 */
#ifndef OUTLIER_BPF_CORE_COMPAT_BPF_H_
#define OUTLIER_BPF_CORE_COMPAT_BPF_H_

#include "bpf/kernel_types.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Before 6.2 resident sizes were plain atomics: exact, no per-CPU parts. */
struct mm_rss_stat___before_6_2 {
  atomic_long_t count[4];
} __attribute__((preserve_access_index));
struct mm_struct___before_6_2 {
  struct mm_rss_stat___before_6_2 rss_stat;
} __attribute__((preserve_access_index));

static __always_inline bool rss_is_plain(void) {
  return bpf_core_field_exists(((struct mm_struct___before_6_2 *)0)->rss_stat.count);
}
static __always_inline __s64 rss_plain(struct mm_struct *mm, int counter) {
  struct mm_struct___before_6_2 *old = (void *)mm;
  return BPF_CORE_READ(old, rss_stat.count[counter].counter);
}
/* Since 6.2 struct percpu_counter. */
static __always_inline bool rss_is_percpu(void) {
  return bpf_core_field_exists(((struct mm_struct *)0)->rss_stat[0].counters);
}

/* inode times: timespec64 i_mtime before 6.7, __i_mtime in 6.7-6.10, two numbers since 6.11. */
struct inode___since_6_11 {
  long long i_mtime_sec;
  __u32 i_mtime_nsec;
} __attribute__((preserve_access_index));
struct timespec64___compat {
  long long tv_sec;
  long tv_nsec;
} __attribute__((preserve_access_index));
struct inode___before_6_7 {
  struct timespec64___compat i_mtime;
} __attribute__((preserve_access_index));
struct inode___6_7 {
  struct timespec64___compat __i_mtime;
} __attribute__((preserve_access_index));

static __always_inline __s64 inode_mtime_ns(struct inode *inode) {
  struct inode___since_6_11 *now = (void *)inode;
  struct inode___6_7 *between = (void *)inode;
  struct inode___before_6_7 *before = (void *)inode;
  if (bpf_core_field_exists(now->i_mtime_sec))
    return BPF_CORE_READ(now, i_mtime_sec) * 1000000000ll + BPF_CORE_READ(now, i_mtime_nsec);
  if (bpf_core_field_exists(between->__i_mtime))
    return BPF_CORE_READ(between, __i_mtime.tv_sec) * 1000000000ll + BPF_CORE_READ(between, __i_mtime.tv_nsec);
  if (bpf_core_field_exists(before->i_mtime))
    return BPF_CORE_READ(before, i_mtime.tv_sec) * 1000000000ll + BPF_CORE_READ(before, i_mtime.tv_nsec);
  return 0;
}

/* Syscall arguments as the entry tracepoint sees them. */
static __always_inline __u64 syscall_argument0(struct pt_regs *regs) {
#if defined(__TARGET_ARCH_x86)
  return regs->di;
#elif defined(__TARGET_ARCH_arm64)
  return regs->regs[0];
#endif
}
static __always_inline __u64 syscall_argument1(struct pt_regs *regs) {
#if defined(__TARGET_ARCH_x86)
  return regs->si;
#elif defined(__TARGET_ARCH_arm64)
  return regs->regs[1];
#endif
}
/* 32-bit calls on a 64-bit kernel have other numbers. */
static __always_inline bool is_compat_call(struct task_struct *task) {
#if defined(__TARGET_ARCH_x86)
  return task->thread_info.status & TS_COMPAT;
#else
  return false;
#endif
}

#endif  /* OUTLIER_BPF_CORE_COMPAT_BPF_H_ */
