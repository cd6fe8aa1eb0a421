// step: is the change from one value to the next unusual, in the light of a short record?
//
// z_t = (x_t - x_{t-1}) / s, s the winsorised exponentially weighted standard deviation of the differences around zero
// (Roberts 1959; Huber 1964), at least prior.scale_floor and 3 % of the largest difference seen, which forgets slowly and which
// one difference alone raises for 60 ticks only (models/seen_peak.h); p is two-sided, from the calibrated tail (models/lane_tail.h). It keeps no level, no range and no rules
// for cold starts and held levels: 52 bytes a series, four series at once (models/lane_model.h).
//
// expected: the previous value; lower, upper: it -+ the 1 % quantile. A tick after a gap has no difference and is not judged.
// prior.relative_floor, cold_seconds and relearn_seconds do not matter here. width 1; x any finite number, beyond 1e33 as 1e33; z
// within +-1000; ready after warm_up_seconds. Scale, range and tail remember at most some 1e5 differences (single precision). O(1).
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::step {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::step
