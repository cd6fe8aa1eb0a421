/* The bucket of a duration: two per octave from 512 ns (userspace/stream/syscall_class.h has the edges).
 * Plain C, so that the unit test compares the very code that runs in the kernel with those edges.
 */
#ifndef OUTLIER_BPF_DURATION_BUCKET_H_
#define OUTLIER_BPF_DURATION_BUCKET_H_

#include "bpf/abi.h"

/* floor(log2(v)); v must not be 0. The BPF instruction set has no count of leading zeros. */
static inline __attribute__((always_inline)) __u32 outlier_log2(__u64 v) {
  __u32 shift, log = 0;
  shift = (v > 0xffffffffull) << 5; v >>= shift; log |= shift;
  shift = (v > 0xffffull) << 4; v >>= shift; log |= shift;
  shift = (v > 0xffull) << 3; v >>= shift; log |= shift;
  shift = (v > 0xfull) << 2; v >>= shift; log |= shift;
  shift = (v > 0x3ull) << 1; v >>= shift; log |= shift;
  return log | (__u32)(v >> 1);
}

static inline __attribute__((always_inline)) __u32 outlier_duration_bucket(__u64 ns) {
  if (ns < 512) return 0;
  const __u32 octave = outlier_log2(ns);
  const __u32 bucket = 1 + 2 * (octave - 9) + (__u32)((ns >> (octave - 1)) & 1);
  return bucket < OUTLIER_DURATION_BUCKETS ? bucket : OUTLIER_DURATION_BUCKETS - 1;
}

#endif  /* OUTLIER_BPF_DURATION_BUCKET_H_ */
