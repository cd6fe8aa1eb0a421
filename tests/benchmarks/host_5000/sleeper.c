// Wakes once a second and goes back to sleep, without a C library: five hundred copies and five thousand processes of it are
// nothing to the host but processes. Dies with its parent.
#include <linux/prctl.h>
#include <linux/time_types.h>
#include <asm/unistd.h>

static long Call(long number, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

// The kernel enters with a stack aligned as for a call that has not been made.
__attribute__((force_align_arg_pointer)) void _start(void) {
  const long kKill = 9;
  Call(__NR_prctl, PR_SET_PDEATHSIG, kKill, 0, 0);
  const struct __kernel_timespec second = {.tv_sec = 1, .tv_nsec = 0};
  for (;;) Call(__NR_nanosleep, (long)&second, 0, 0, 0);
}
