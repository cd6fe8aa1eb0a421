/* Which cgroup a task is in: the v2 id where it is not the root, else the first of v1's name=systemd, memory and pids
 * that is not its root. Ids equal the inode numbers of the cgroup folders.
 */
#ifndef OUTLIER_BPF_CGROUP_BPF_H_
#define OUTLIER_BPF_CGROUP_BPF_H_

#include "bpf/core_compat.bpf.h"

static __always_inline __u64 cgroup_id_unless_root(struct cgroup *cgroup) {
  if (!cgroup || BPF_CORE_READ(cgroup, level) == 0) return 0;
  return BPF_CORE_READ(cgroup, kn, id);
}

/* A css_set lists its cgroups of all hierarchies; a named hierarchy has no subsystem to find it by. */
#define CGROUP_LINKS 16
static __noinline __u64 systemd_cgroup_id(struct css_set *set) {
  struct list_head *head = &set->cgrp_links, *at = BPF_CORE_READ(set, cgrp_links.next);
  for (int i = 0; i < CGROUP_LINKS && at && at != head; ++i) {
    struct cgrp_cset_link *link = (void *)((char *)at - bpf_core_field_offset(struct cgrp_cset_link, cgrp_link));
    struct cgroup *cgroup = BPF_CORE_READ(link, cgrp);
    if (BPF_CORE_READ(cgroup, root, name[0]) == 's') return cgroup_id_unless_root(cgroup);
    at = BPF_CORE_READ(link, cgrp_link.next);
  }
  return 0;
}

static __always_inline __u64 subsystem_cgroup_id(struct css_set *set, int subsystem) {
  if (subsystem < 0 || subsystem >= 16) return 0;
  struct cgroup_subsys_state *css = 0;
  const unsigned long offset = bpf_core_field_offset(struct css_set, subsys) + subsystem * sizeof(void *);
  bpf_probe_read_kernel(&css, sizeof css, (char *)set + offset);
  return css ? cgroup_id_unless_root(BPF_CORE_READ(css, cgroup)) : 0;
}

static __noinline __u64 read_cgroup_id(struct css_set *set) {
  if (!set) return 0;
  __u64 id = cgroup_id_unless_root(BPF_CORE_READ(set, dfl_cgrp));
  if (!id) id = systemd_cgroup_id(set);
  if (!id && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
    id = subsystem_cgroup_id(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
  if (!id && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
    id = subsystem_cgroup_id(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
  return id;
}

#endif  /* OUTLIER_BPF_CGROUP_BPF_H_ */
