// Features: the numbers that models see, computed from workload totals. Pure and stateless.
#pragma once
#include <span>

#include "userspace/stream/feature.h"
#include "userspace/stream/workload.h"

namespace outlier {

// One entry a line of userspace/stream/features.def, in column order.
std::span<const FeatureSpec> FeatureSpecs();

// Column of a signal; -1 when there is none. `attribute_value` "" matches the first.
int FeatureColumn(std::string_view signal, std::string_view attribute_value = "");

// A feature is absent where its workload was not observed, where a rate has no previous tick, and a duration where no
// call of its class ended.
FeatureTick ComputeFeatures(const WorkloadTick& tick);
// The same into a tick that this function filled before: nothing is allocated unless slots were added, and of the histograms,
// nearly all of them empty, only those are touched that were or are in use.
void ComputeFeatures(const WorkloadTick& tick, FeatureTick* out);

// Smallest duration such that a share q of the calls of the class took no longer: geometric middle of its bucket, in
// seconds; 0 when there were none.
double Quantile(const WorkloadTotals& totals, int syscall_class, double q);

}  // namespace outlier
