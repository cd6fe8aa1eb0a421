/* The walk over the kernel's list of tasks spends most of its time waiting for memory: between two ticks everybody else has used
 * the cache, and of each process a dozen lines of task_struct, its signal_struct and three objects of its task storage are
 * needed, one after the other. Here they are loaded for the processes that come next, all at once, so that the waits
 * coincide. The values are thrown away: what is loaded wrongly (a task that is just being freed) costs time and nothing else.
 * Loads through a cast pointer read 0 where there is no memory.
 */
#ifndef OUTLIER_BPF_LOOK_AHEAD_BPF_H_
#define OUTLIER_BPF_LOOK_AHEAD_BPF_H_

#include "bpf/state.bpf.h"

#define CACHE_LINE 64

/* The compiler must not leave out a load whose value nobody uses. */
#define LOAD(value) asm volatile("" : : "r"(value))

/* Any address, as a type that may be read from. */
#define AS(type, address) ((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))

static __always_inline void load_line(__u64 address) { LOAD(AS(struct list_head, address)->next); }

/* Where every task's storage keeps what it found last for this map; userspace cannot know it. */
static __always_inline __u64 storage_slot_offset(void) {
  return bpf_core_field_offset(struct bpf_local_storage, cache) +
         AS(struct bpf_local_storage_map, &thread_states)->cache_idx * sizeof(void *);
}

static __always_inline struct task_struct *process_after(struct task_struct *task) {
  return AS(struct task_struct, (__u64)task->tasks.next - bpf_core_field_offset(struct task_struct, tasks));
}

static __always_inline void load_task(struct task_struct *task) {
  LOAD(task->se.sum_exec_runtime);
  LOAD(task->sched_info.run_delay);
  LOAD(task->tasks.next);
  LOAD(task->tgid);
  LOAD(task->real_parent);
  LOAD(task->thread_node.next);
  LOAD(task->nvcsw);
  LOAD(task->cred);
  LOAD(task->signal);
  LOAD(task->ioac.write_bytes);
  LOAD(task->bpf_storage);
}

/* Three processes ahead, each a step further: the pointers followed here were loaded a process or two ago. */
static __always_inline void look_ahead(struct task_struct *task, __u64 storage_slot) {
  struct task_struct *first = process_after(task), *second = process_after(first);
  load_task(process_after(second));
  LOAD(second->signal->live.counter);
  load_line((__u64)second->bpf_storage + storage_slot);
  const __u64 state = (__u64)AS(struct list_head, (__u64)first->bpf_storage + storage_slot)->next;
  load_line(state);
  load_line(state + CACHE_LINE);
}

#endif  /* OUTLIER_BPF_LOOK_AHEAD_BPF_H_ */
