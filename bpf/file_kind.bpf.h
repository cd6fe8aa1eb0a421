/* Is a descriptor a file in the sense of class `file` (regular file, folder, block device)? Sockets, pipes, terminals,
 * other character devices and the kernel's anonymous inodes (eventfd, inotify: no type bits) wait for others.
 */
#ifndef OUTLIER_BPF_FILE_KIND_BPF_H_
#define OUTLIER_BPF_FILE_KIND_BPF_H_

#include "bpf/state.bpf.h"

#define FILE_KIND_UNKNOWN 0u
#define FILE_KIND_FILE 1u
#define FILE_KIND_BLOCKING 2u
#define REMEMBERED_FILES 512u

static __noinline __u32 look_at_file(struct task_struct *task, __u32 descriptor) {
  struct file *file = 0;
  struct fdtable *table = BPF_CORE_READ(task, files, fdt);
  if (!table || descriptor >= BPF_CORE_READ(table, max_fds)) return FILE_KIND_UNKNOWN;
  struct file **slots = BPF_CORE_READ(table, fd);
  bpf_probe_read_kernel(&file, sizeof file, &slots[descriptor]);
  if (!file) return FILE_KIND_UNKNOWN;
  const __u32 type = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
  return type == S_IFREG || type == S_IFDIR || type == S_IFBLK ? FILE_KIND_FILE : FILE_KIND_BLOCKING;
}

static __always_inline __u32 remembered_kind(struct process_syscalls *syscalls, __u32 descriptor) {
  if (descriptor >= REMEMBERED_FILES) return FILE_KIND_UNKNOWN;
  return syscalls->file_kinds[(descriptor >> 5) & 15] >> ((descriptor & 31) * 2) & 3;
}

static __always_inline void remember_kind(struct process_syscalls *syscalls, __u32 descriptor, __u64 kind) {
  if (descriptor < REMEMBERED_FILES)
    __sync_fetch_and_or(&syscalls->file_kinds[(descriptor >> 5) & 15], kind << ((descriptor & 31) * 2));
}

static __always_inline void forget_kind(struct process_syscalls *syscalls, __u32 descriptor) {
  if (remembered_kind(syscalls, descriptor) != FILE_KIND_UNKNOWN)
    __sync_fetch_and_and(&syscalls->file_kinds[(descriptor >> 5) & 15], ~(3ull << ((descriptor & 31) * 2)));
}

static __always_inline void forget_all_kinds(struct process_syscalls *syscalls) {
  for (int i = 0; i < 16; ++i) syscalls->file_kinds[i] = 0;
}

#endif  /* OUTLIER_BPF_FILE_KIND_BPF_H_ */
