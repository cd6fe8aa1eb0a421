/* Which limit an OOM kill met. No hook carries the constraint: the victim's memory cgroups are walked upwards, and the
 * first whose usage has reached its maximum is the one.
 */
#ifndef OUTLIER_BPF_OOM_BPF_H_
#define OUTLIER_BPF_OOM_BPF_H_

#include "bpf/state.bpf.h"

#define MEMCG_LEVELS 16
/* A charge fails if usage + pages > max: usage itself may stay below by what was asked for, at most a batch. */
#define CHARGE_BATCH_PAGES 64

static __always_inline bool reached(__u64 usage, __u64 max) {
  return max < (1ull << 50) && usage + CHARGE_BATCH_PAGES >= max;
}

static __always_inline void name_constraint(struct task_struct *task, struct outlier_oom_event *oom) {
  oom->constraint = OUTLIER_OOM_HOST;
  oom->limit_pages = 0;
  oom->killer_pid = bpf_get_current_pid_tgid() >> 32;
  if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) return;
  struct cgroup_subsys_state *css = 0;
  struct css_set *set = BPF_CORE_READ(task, cgroups);
  const unsigned long offset = bpf_core_field_offset(struct css_set, subsys) +
                               bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(void *);
  bpf_probe_read_kernel(&css, sizeof css, (char *)set + offset);
  for (int level = 0; level < MEMCG_LEVELS && css; ++level) {
    struct mem_cgroup *group = (void *)((char *)css - bpf_core_field_offset(struct mem_cgroup, css));
    const __u64 max = BPF_CORE_READ(group, memory.max);
    if (reached(BPF_CORE_READ(group, memory.usage.counter), max)) {
      oom->constraint = OUTLIER_OOM_MEMORY;
      oom->limit_pages = max;
      return;
    }
    /* v1 only (v2 keeps swap in the same place, and a full swap kills nobody by itself). */
    const __u64 both = BPF_CORE_READ(group, memsw.max);
    if (BPF_CORE_READ(css, cgroup, root, hierarchy_id) != 0 && reached(BPF_CORE_READ(group, memsw.usage.counter), both)) {
      oom->constraint = OUTLIER_OOM_MEMORY_AND_SWAP;
      oom->limit_pages = both;
      return;
    }
    css = BPF_CORE_READ(css, parent);
  }
}

#endif  /* OUTLIER_BPF_OOM_BPF_H_ */
