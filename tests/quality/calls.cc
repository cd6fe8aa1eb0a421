#include "tests/quality/calls.h"

#include <algorithm>
#include <cmath>

namespace outlier::quality {
namespace {

constexpr double kSigma = 0.6;

int BucketOf(double ns) {
  int bucket = 0;
  while (bucket + 1 < kDurationBuckets && DurationBucketLowerNs(bucket + 1) <= ns) ++bucket;
  return bucket;
}

double NormalQuantile(double p) {
  double low = -10, high = 10;
  for (int step = 0; step < 50; ++step) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle * M_SQRT1_2) < p ? low : high) = middle;
  }
  return low;
}

}  // namespace

double DurationTables::MedianNs(int median) { return 2e3 * std::exp2(median / 8.0); }

DurationTables::DurationTables() {
  for (int i = 0; i < 1 << kBits; ++i) {
    const double factor = std::exp(kSigma * NormalQuantile((i + 0.5) / (1 << kBits)));
    for (int median = 0; median < kMedians; ++median) bucket_[median][i] = static_cast<uint8_t>(BucketOf(MedianNs(median) * factor));
  }
}

void DurationTables::Clear(int median, float* counts) const {
  const int last = std::min(bucket_[median].back() + kFarther, kDurationBuckets - 1);
  for (int bucket = bucket_[median].front(); bucket <= last; ++bucket) counts[bucket] = 0;
}

void DurationTables::Add(int median, int calls, Random* random, float* counts) const {
  const auto& bucket = bucket_[median];
  constexpr int kPerWord = 64 / kBits;
  uint64_t bits = 0;
  for (int i = 0; i < calls; ++i) {
    bits = i % kPerWord == 0 ? random->Bits() : bits >> kBits;
    counts[bucket[bits & ((1 << kBits) - 1)]] += 1;
  }
}

}  // namespace outlier::quality
