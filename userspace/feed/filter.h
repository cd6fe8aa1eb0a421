// outlier.v1.Filter: is it well formed, and what does it let through.
#pragma once
#include "absl/status/status.h"
#include "outlier/v1/feed.pb.h"

namespace outlier {

// INVALID_ARGUMENT names the field.
absl::Status CheckFilter(const v1::Filter& filter);
bool Matches(const v1::Filter& filter, const v1::Incident& incident);

// Of workloads: min_severity is held against the score they have now; they have no state.
absl::Status CheckWorkloadFilter(const v1::Filter& filter);
bool Matches(const v1::Filter& filter, const v1::WorkloadState& workload);

}  // namespace outlier
