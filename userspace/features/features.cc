#include "userspace/features/features.h"

#include <array>
#include <cmath>
#include <numeric>

namespace outlier {
namespace {

enum class Owner { kWorkload, kHost };

uint64_t Increase(uint64_t now, uint64_t before) { return now >= before ? now - before : 0; }

using CallCounts = std::array<double, kSyscallClasses>;

double Calls(const WorkloadTotals& w, int syscall_class) {
  if (!w.syscalls.has_changed(syscall_class)) return 0;
  const auto& buckets = w.syscalls.buckets[syscall_class];
  return static_cast<double>(std::accumulate(buckets.begin(), buckets.end(), uint64_t{0}));  // whole numbers are summed four at a time
}

constexpr FeatureSpec kSpecs[] = {
#define FEATURE(signal, unit, key, value, kind, syscall_class, owner, expression) \
  {signal, unit, key, value, FeatureKind::kind, syscall_class},
#include "userspace/stream/features.def"
#undef FEATURE
};
constexpr int kFeatures = std::size(kSpecs);

struct Definition {
  Owner owner;
  double (*value)(const WorkloadTotals& w, const CallCounts& calls, double seconds, const HostSample& host, const HostSample& before);
};
constexpr Definition kDefinitions[] = {
#define FEATURE(signal, unit, key, attribute, kind, syscall_class, owner, expression)                              \
  {Owner::owner, [](const WorkloadTotals& w, const CallCounts& calls, double seconds, const HostSample& host, const HostSample& before) -> double { \
     (void)w, (void)calls, (void)seconds, (void)host, (void)before;                                               \
     return expression;                                                                                           \
   }},
#include "userspace/stream/features.def"
#undef FEATURE
};

// Gauges need no previous tick.
constexpr bool IsGauge(FeatureKind kind) {
  return kind == FeatureKind::kBytes || kind == FeatureKind::kPopulation || kind == FeatureKind::kFact;
}

// All absent, all zero.
void Prepare(int slots, FeatureTick* out) {
  if (out->values.rows() == slots) {
    for (int f = 0; f < kFeatures; ++f) {
      if (kSpecs[f].kind != FeatureKind::kDuration) continue;
      for (int slot = 0; slot < slots; ++slot) {
        if (out->present(slot, f)) out->durations[kSpecs[f].syscall_class].col(slot).setZero();
      }
    }
  } else {
    for (int c = 0; c < kSyscallClasses; ++c) out->durations[c].setZero(kDurationBuckets, slots);
  }
  out->values.setZero(slots, kFeatures);
  out->present.setConstant(slots, kFeatures, false);
  out->born.setConstant(slots, false);
  out->sibling.assign(slots, 0);
}

}  // namespace

std::span<const FeatureSpec> FeatureSpecs() { return kSpecs; }

int FeatureColumn(std::string_view signal, std::string_view attribute_value) {
  for (int f = 0; f < kFeatures; ++f) {
    if (kSpecs[f].signal == signal && (attribute_value.empty() || kSpecs[f].attribute_value == attribute_value)) return f;
  }
  return -1;
}

double Quantile(const WorkloadTotals& totals, int syscall_class, double q) {
  const auto& buckets = totals.syscalls.buckets[syscall_class];
  const double wanted = q * Calls(totals, syscall_class);
  double seen = 0;
  for (int b = 0; b < kDurationBuckets; ++b) {
    seen += buckets[b];
    if (seen > 0 && seen >= wanted) {
      const double lower = std::max(DurationBucketLowerNs(b), 1.0);
      const double upper = b + 1 < kDurationBuckets ? DurationBucketLowerNs(b + 1) : 2 * lower;
      return std::sqrt(lower * upper) * 1e-9;
    }
  }
  return 0;
}

FeatureTick ComputeFeatures(const WorkloadTick& tick) {
  FeatureTick out;
  ComputeFeatures(tick, &out);
  return out;
}

void ComputeFeatures(const WorkloadTick& tick, FeatureTick* out) {
  const int slots = static_cast<int>(tick.totals.size());
  Prepare(slots, out);
  out->interval_seconds = tick.interval_seconds;
  out->wall_time_ns = tick.wall_time_ns;
  // A divisor for expressions that are masked anyway.
  const double seconds = tick.interval_seconds > 0 ? tick.interval_seconds : 1.0;
  for (int slot = 0; slot < slots; ++slot) {
    const WorkloadTotals& w = tick.totals[slot];
    out->born(slot) = w.born;
    out->sibling[slot] = static_cast<int>(w.sibling);
    if (!w.observed) continue;
    CallCounts calls;
    for (int c = 0; c < kSyscallClasses; ++c) calls[c] = Calls(w, c);
    const Owner owner = slot == static_cast<int>(kHostSlot) ? Owner::kHost : Owner::kWorkload;
    for (int f = 0; f < kFeatures; ++f) {
      const FeatureKind kind = kSpecs[f].kind;
      if (kDefinitions[f].owner != owner) continue;
      if (kind == FeatureKind::kDuration && calls[kSpecs[f].syscall_class] == 0) continue;
      if (!IsGauge(kind) && !(w.has_rates && tick.interval_seconds > 0)) continue;
      out->values(slot, f) = kDefinitions[f].value(w, calls, seconds, tick.host, tick.host_before);
      out->present(slot, f) = std::isfinite(out->values(slot, f));
      if (kind != FeatureKind::kDuration || !out->present(slot, f)) continue;
      const int c = kSpecs[f].syscall_class;
      for (int b = 0; b < kDurationBuckets; ++b) out->durations[c](b, slot) = static_cast<float>(w.syscalls.buckets[c][b]);
    }
  }
}

}  // namespace outlier
