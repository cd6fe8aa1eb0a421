// The bucket function that runs in the kernel, compiled as plain C++, against the edges the engine believes in.
#include <gtest/gtest.h>

#include "bpf/duration_bucket.h"
#include "userspace/stream/syscall_class.h"

namespace outlier {
namespace {

TEST(DurationBucket, EveryEdgeBeginsItsBucketAndEndsTheOneBefore) {
  for (int bucket = 1; bucket < kDurationBuckets; ++bucket) {
    const auto edge = static_cast<uint64_t>(DurationBucketLowerNs(bucket));
    EXPECT_EQ(outlier_duration_bucket(edge), static_cast<uint32_t>(bucket)) << edge;
    EXPECT_EQ(outlier_duration_bucket(edge - 1), static_cast<uint32_t>(bucket - 1)) << edge;
  }
}

TEST(DurationBucket, ShortestAndLongestFallIntoTheFirstAndTheLast) {
  EXPECT_EQ(outlier_duration_bucket(0), 0u);
  EXPECT_EQ(outlier_duration_bucket(511), 0u);
  EXPECT_EQ(outlier_duration_bucket(~0ull), OUTLIER_DURATION_BUCKETS - 1);
}

TEST(DurationBucket, LogarithmIsExactAtEveryPowerOfTwo) {
  for (uint32_t power = 0; power < 64; ++power) {
    EXPECT_EQ(outlier_log2(1ull << power), power);
    if (power > 0) {
      EXPECT_EQ(outlier_log2((1ull << power) - 1), power - 1);
      EXPECT_EQ(outlier_log2((1ull << power) + 1), power) << power;
    }
  }
}

}  // namespace
}  // namespace outlier
