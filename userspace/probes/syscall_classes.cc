#include "userspace/probes/syscall_classes.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <initializer_list>

#include "userspace/stream/syscall_class.h"

namespace outlier {
namespace {

using Table = std::array<uint8_t, OUTLIER_SYSCALLS>;

void Set(Table* table, SyscallClass c, std::initializer_list<int> numbers, unsigned flags = 0) {
  for (const int number : numbers) (*table)[static_cast<size_t>(number)] = static_cast<uint8_t>(static_cast<unsigned>(c) | flags);
}

// Calls that only older architectures have; the others reach them through the ...at forms.
void SetLegacy(Table* table) {
#ifdef __x86_64__
  Set(table, SyscallClass::kFile,
      {SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_getdents, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_link,
       SYS_unlink, SYS_symlink, SYS_readlink, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
       SYS_mknod, SYS_uselib, SYS_ustat, SYS_sysfs});
  Set(table, SyscallClass::kBlocking, {SYS_poll, SYS_select, SYS_epoll_wait, SYS_epoll_wait_old, SYS_pause});
  Set(table, SyscallClass::kProcess, {SYS_fork, SYS_vfork, SYS_getpgrp, SYS_arch_prctl});
  Set(table, SyscallClass::kTime, {SYS_time, SYS_alarm});
  Set(table, SyscallClass::kOther, {SYS_dup2}, OUTLIER_SYSCALL_CLOSES_ALL);
#else
  (void)table;
#endif
}

}  // namespace

std::array<uint8_t, OUTLIER_SYSCALLS> SyscallTable() {
  Table table;
  table.fill(static_cast<uint8_t>(SyscallClass::kOther));
  Set(&table, SyscallClass::kFile, {SYS_read, SYS_pread64, SYS_readv, SYS_preadv, SYS_preadv2, SYS_write, SYS_pwrite64, SYS_writev,
                                    SYS_pwritev, SYS_pwritev2, SYS_vmsplice, SYS_getdents64},
      OUTLIER_SYSCALL_BY_FILE);
  Set(&table, SyscallClass::kFile,
      {SYS_openat, SYS_openat2, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_faccessat2,
       SYS_lseek, SYS_fsync, SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_truncate, SYS_ftruncate,
       SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_renameat, SYS_renameat2, SYS_mkdirat, SYS_unlinkat, SYS_linkat,
       SYS_symlinkat, SYS_readlinkat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_mknodat,
       SYS_chdir, SYS_fchdir, SYS_chroot, SYS_getcwd, SYS_mount, SYS_umount2, SYS_copy_file_range, SYS_sendfile,
       SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_listxattr,
       SYS_llistxattr, SYS_flistxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_io_submit,
       SYS_name_to_handle_at, SYS_open_by_handle_at});
  Set(&table, SyscallClass::kFile, {SYS_close}, OUTLIER_SYSCALL_CLOSES);
  Set(&table, SyscallClass::kNetwork,
      {SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_connect, SYS_shutdown, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
       SYS_setsockopt, SYS_getsockopt, SYS_getsockname, SYS_getpeername});
  Set(&table, SyscallClass::kMemory,
      {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_brk, SYS_madvise, SYS_mlock, SYS_mlock2, SYS_munlock, SYS_mlockall,
       SYS_munlockall, SYS_msync, SYS_mincore, SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_migrate_pages,
       SYS_move_pages, SYS_memfd_create, SYS_shmat, SYS_shmdt, SYS_shmget, SYS_shmctl, SYS_process_madvise,
       SYS_pkey_mprotect, SYS_swapon, SYS_swapoff, SYS_userfaultfd});
  Set(&table, SyscallClass::kProcess,
      {SYS_clone, SYS_clone3, SYS_exit, SYS_exit_group, SYS_kill, SYS_tkill, SYS_tgkill, SYS_getpid, SYS_getppid, SYS_gettid,
       SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_setuid,
       SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_getresuid, SYS_getresgid, SYS_getgroups,
       SYS_setgroups, SYS_capget, SYS_capset, SYS_prctl, SYS_ptrace, SYS_rt_sigaction, SYS_rt_sigprocmask,
       SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_pidfd_open,
       SYS_pidfd_send_signal, SYS_pidfd_getfd, SYS_sched_yield, SYS_sched_setaffinity, SYS_sched_getaffinity,
       SYS_sched_setscheduler, SYS_sched_getscheduler, SYS_sched_setparam, SYS_sched_getparam, SYS_sched_setattr,
       SYS_sched_getattr, SYS_getpriority, SYS_setpriority, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage,
       SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_unshare, SYS_setns, SYS_seccomp, SYS_membarrier,
       SYS_rseq, SYS_getcpu, SYS_personality, SYS_umask, SYS_process_vm_readv, SYS_process_vm_writev, SYS_acct});
  Set(&table, SyscallClass::kProcess, {SYS_execve, SYS_execveat}, OUTLIER_SYSCALL_CLOSES_ALL);
  Set(&table, SyscallClass::kSync, {SYS_futex}, OUTLIER_SYSCALL_BY_FUTEX);
  Set(&table, SyscallClass::kSync, {SYS_flock, SYS_semget, SYS_semctl, SYS_msgget, SYS_msgctl, SYS_eventfd2});
  Set(&table, SyscallClass::kTime,
      {SYS_clock_gettime, SYS_clock_settime, SYS_clock_getres, SYS_gettimeofday, SYS_settimeofday, SYS_times, SYS_getitimer,
       SYS_setitimer, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
       SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_adjtimex, SYS_clock_adjtime});
  Set(&table, SyscallClass::kBlocking,
      {SYS_ppoll, SYS_pselect6, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_nanosleep, SYS_clock_nanosleep, SYS_wait4, SYS_waitid,
       SYS_accept, SYS_accept4, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
       SYS_restart_syscall, SYS_msgrcv, SYS_msgsnd, SYS_semop, SYS_semtimedop, SYS_mq_timedreceive, SYS_mq_timedsend,
       SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter, SYS_splice, SYS_tee, SYS_futex_waitv, SYS_syslog});
  // dup2 and dup3 close their second descriptor; rare enough to forget all.
  Set(&table, SyscallClass::kOther, {SYS_dup3, SYS_close_range}, OUTLIER_SYSCALL_CLOSES_ALL);
  SetLegacy(&table);
  return table;
}

uint64_t FutexWaits() {
  uint64_t mask = 0;
  for (const int operation : {FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2}) {
    mask |= uint64_t{1} << operation;
  }
  return mask;
}

}  // namespace outlier
