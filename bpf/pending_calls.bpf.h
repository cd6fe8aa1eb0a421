/* Calls that ended, kept in the thread's own state if they are of the class and bucket of the first since the last scan: a
 * process that wakes once a second, and a loop of equal calls, touch no histogram. The scan or the thread's end moves them on.
 *
 * One word, so that taking and adding are one atomic operation each:
 *   class (3 bits) | bucket (6) | number of calls (15) | sum of their durations, ns (40)
 */
#ifndef OUTLIER_BPF_PENDING_CALLS_BPF_H_
#define OUTLIER_BPF_PENDING_CALLS_BPF_H_

#include "bpf/state.bpf.h"

#define PENDING_SUM_BITS 40
#define PENDING_COUNT_BITS 15
#define PENDING_BUCKET_BITS 6
#define PENDING_SUM_MASK ((1ull << PENDING_SUM_BITS) - 1)
#define PENDING_COUNT_MASK ((1ull << PENDING_COUNT_BITS) - 1)
#define PENDING_KEY_SHIFT (PENDING_SUM_BITS + PENDING_COUNT_BITS)
_Static_assert(OUTLIER_DURATION_BUCKETS <= 1 << PENDING_BUCKET_BITS, "a bucket fits its bits");
_Static_assert(OUTLIER_SYSCALL_CLASSES <= 8, "a class fits its bits");

struct pending_calls {
  __u32 class;
  __u32 bucket;
  __u64 count;
  __u64 duration_sum_ns;
};

static __always_inline struct pending_calls unpack_pending(__u64 word) {
  const __u32 key = word >> PENDING_KEY_SHIFT;
  struct pending_calls calls = {.class = key >> PENDING_BUCKET_BITS,
                                .bucket = key & ((1u << PENDING_BUCKET_BITS) - 1),
                                .count = word >> PENDING_SUM_BITS & PENDING_COUNT_MASK,
                                .duration_sum_ns = word & PENDING_SUM_MASK};
  return calls;
}

static __always_inline __u64 pack_call(__u32 class, __u32 bucket, __u64 duration) {
  return (__u64)(class << PENDING_BUCKET_BITS | bucket) << PENDING_KEY_SHIFT | 1ull << PENDING_SUM_BITS | duration;
}

static __always_inline __u64 take_pending(struct thread_state *state) {
  return state->pending_calls ? __sync_lock_test_and_set(&state->pending_calls, 0) : 0;
}

/* Whether the call waits here now. If not, others of another kind do, or it lasted too long for the word. */
static __always_inline bool add_pending(struct thread_state *state, __u32 class, __u32 bucket, __u64 duration) {
  if (duration > PENDING_SUM_MASK) return false;
  const __u64 call = pack_call(class, bucket, duration);
  const __u64 before = state->pending_calls;
  if (!before) return __sync_val_compare_and_swap(&state->pending_calls, 0, call) == 0;
  if (before >> PENDING_KEY_SHIFT != call >> PENDING_KEY_SHIFT || (before >> PENDING_SUM_BITS & PENDING_COUNT_MASK) == PENDING_COUNT_MASK ||
      (before & PENDING_SUM_MASK) + duration > PENDING_SUM_MASK)
    return false;
  /* Fails when the scan takes them at this very moment. */
  return __sync_val_compare_and_swap(&state->pending_calls, before, before + (1ull << PENDING_SUM_BITS) + duration) == before;
}

#endif  /* OUTLIER_BPF_PENDING_CALLS_BPF_H_ */
