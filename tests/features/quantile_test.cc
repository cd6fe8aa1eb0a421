// Quantiles of a duration histogram.
#include <gtest/gtest.h>

#include <random>

#include "userspace/features/features.h"

namespace outlier {
namespace {

constexpr int kClass = 2;

TEST(Quantile, OfNothingIsZero) { EXPECT_EQ(Quantile(WorkloadTotals(), kClass, 0.5), 0); }

TEST(Quantile, OfCallsInOneBucketLiesWithinItsEdges) {
  for (int bucket = 0; bucket < kDurationBuckets; ++bucket) {
    WorkloadTotals totals;
    totals.syscalls.buckets[kClass][bucket] = 17;
    const double lower = DurationBucketLowerNs(bucket) * 1e-9;
    const double upper = bucket + 1 < kDurationBuckets ? DurationBucketLowerNs(bucket + 1) * 1e-9 : 1e9;
    for (const double q : {0.0, 0.5, 0.99, 1.0}) {
      EXPECT_GT(Quantile(totals, kClass, q), lower) << "bucket " << bucket;
      EXPECT_LT(Quantile(totals, kClass, q), upper) << "bucket " << bucket;
    }
    EXPECT_EQ(Quantile(totals, kClass + 1, 0.5), 0) << "another class";
  }
}

TEST(Quantile, NeverFallsAsTheShareGrowsAndIsReachedByThatShareOfCalls) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    WorkloadTotals totals;
    double calls = 0;
    for (uint32_t& bucket : totals.syscalls.buckets[kClass]) {
      bucket = random() % 2 == 0 ? 0 : static_cast<uint32_t>(random() >> (32 + random() % 32));
      calls += bucket;
    }
    if (calls == 0) continue;
    double last = 0;
    for (int percent = 0; percent <= 100; ++percent) {
      const double q = percent / 100.0, value = Quantile(totals, kClass, q);
      ASSERT_GE(value, last) << "round " << round;
      last = value;
      // The share of calls in buckets that begin below the value is at least q, in buckets that end below it less.
      double begun = 0, ended = 0;
      for (int b = 0; b < kDurationBuckets; ++b) {
        const double count = totals.syscalls.buckets[kClass][b];
        if (DurationBucketLowerNs(b) * 1e-9 < value) begun += count;
        if (b + 1 < kDurationBuckets && DurationBucketLowerNs(b + 1) * 1e-9 < value) ended += count;
      }
      ASSERT_GE(begun / calls, q - 1e-12) << "round " << round << " q " << q;
      if (percent > 0) { ASSERT_LT(ended / calls, q) << "round " << round << " q " << q; }
    }
  }
}

TEST(Quantile, CountsCallsBeyondThirtyTwoBits) {
  WorkloadTotals totals;
  totals.syscalls.buckets[kClass][10] = 4'000'000'000u;
  totals.syscalls.buckets[kClass][20] = 4'200'000'000u;
  EXPECT_GT(Quantile(totals, kClass, 0.5), DurationBucketLowerNs(20) * 1e-9);
}

}  // namespace
}  // namespace outlier
