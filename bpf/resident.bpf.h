/* Resident size of a process. Since 6.2 each of the four sizes is a percpu_counter: a common count plus one part per
 * CPU; without the parts it is off by up to a batch of pages for each CPU.
 */
#ifndef OUTLIER_BPF_RESIDENT_BPF_H_
#define OUTLIER_BPF_RESIDENT_BPF_H_

#include "bpf/state.bpf.h"

#define RSS_COUNTERS 4
#define MAX_CPUS 256

/* Adds the per-CPU parts. The kernel allocates the four counters' parts side by side: one read per CPU then. */
static __always_inline void add_percpu_parts(struct mm_struct *mm, __s64 pages[RSS_COUNTERS]) {
  const __u64 first = (__u64)mm->rss_stat[0].counters;
  const bool together = (__u64)mm->rss_stat[1].counters == first + 4 && (__u64)mm->rss_stat[2].counters == first + 8 &&
                        (__u64)mm->rss_stat[3].counters == first + 12;
  for (__u32 cpu = 0; cpu < possible_cpus && cpu < MAX_CPUS; ++cpu) {
    __s32 parts[RSS_COUNTERS] = {};
    const __u64 offset = percpu_offsets[cpu];
    if (together) {
      bpf_probe_read_kernel(parts, sizeof parts, (void *)(first + offset));
    } else {
      bpf_probe_read_kernel(&parts[0], 4, (void *)((__u64)mm->rss_stat[0].counters + offset));
      bpf_probe_read_kernel(&parts[1], 4, (void *)((__u64)mm->rss_stat[1].counters + offset));
      bpf_probe_read_kernel(&parts[2], 4, (void *)((__u64)mm->rss_stat[2].counters + offset));
      bpf_probe_read_kernel(&parts[3], 4, (void *)((__u64)mm->rss_stat[3].counters + offset));
    }
    pages[0] += parts[0];
    pages[1] += parts[1];
    pages[2] += parts[2];
    pages[3] += parts[3];
  }
}

static __always_inline void read_resident(struct mm_struct *mm, struct outlier_process *process) {
  __s64 pages[RSS_COUNTERS] = {};
  if (rss_is_plain()) {
    pages[0] = rss_plain(mm, 0);
    pages[1] = rss_plain(mm, 1);
    pages[2] = rss_plain(mm, 2);
    pages[3] = rss_plain(mm, 3);
  } else if (rss_is_percpu()) {
    pages[0] = mm->rss_stat[0].count;
    pages[1] = mm->rss_stat[1].count;
    pages[2] = mm->rss_stat[2].count;
    pages[3] = mm->rss_stat[3].count;
    if (percpu_offsets_known) {
      add_percpu_parts(mm, pages);
    } else {
      process->flags |= OUTLIER_PROCESS_RSS_APPROXIMATE;
      count_failure(OUTLIER_FAILURE_RSS_APPROXIMATE);
    }
  } else {
    process->flags |= OUTLIER_PROCESS_RSS_APPROXIMATE;
    count_failure(OUTLIER_FAILURE_RSS_APPROXIMATE);
  }
  process->rss_file_pages = pages[MM_FILEPAGES];
  process->rss_anonymous_pages = pages[MM_ANONPAGES];
  process->swap_pages = pages[MM_SWAPENTS];
  process->rss_shared_pages = pages[MM_SHMEMPAGES];
}

#endif  /* OUTLIER_BPF_RESIDENT_BPF_H_ */
