/* The least that timing every call can cost: enter and exit programs with two clocks and two task storage look-ups. */
#include "bpf/kernel_types.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, __u64);
} starts SEC(".maps");

SEC("tp_btf/sys_enter")
int BPF_PROG(floor_enter, struct pt_regs *regs, long number) {
  __u64 *start = bpf_task_storage_get(&starts, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (start) *start = bpf_ktime_get_ns();
  return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(floor_exit, struct pt_regs *regs, long result) {
  __u64 *start = bpf_task_storage_get(&starts, bpf_get_current_task_btf(), 0, 0);
  if (start) *start = bpf_ktime_get_ns() - *start;
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
