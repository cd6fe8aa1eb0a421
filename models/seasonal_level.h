// seasonal_level: is a value unusual for this hour in the long run, and also for the last hours?
//
// Two memories of one series, both of winsorised exponentially weighted level and variance (Roberts 1959; Huber 1964):
//  - the long one, half-life options.half_life_seconds, adds a profile of 24 hours (seasonal term of Holt & Winters, Winters
//    1960), used only after a day and only where it lowers the mean square of the residual by a tenth or more; and what each half day of the
//    week adds to it, used after two weeks on the same condition;
//  - the short one, 1/48 of that half-life, without a profile: it accepts a new level within hours.
// Each residual has a calibrated tail of its own. p = max(p_long, p_short): the intersection-union test (Berger 1982), which
// rejects at level a only if both do, hence P(p <= a) <= a. Two memories of one steady series nearly agree, so p is close to
// uniform there; a shift is told while it is new, and what the long memory alone still minds is not.
// z: the smaller size of the two, in the direction of the long one; within +-1000.
//
// Scale >= max(prior.scale_floor, 2 % of the seen range, which forgets slowly): where a series lies flat between
// bursts, the next one is at most 50 scales away. One value alone widens that range for 60 ticks only (models/seen_peak.h), and the level begins at the
// median of three, so that no glitch hides what comes later. prior.relative_floor, cold_seconds and relearn_seconds do not matter here.
// The day is counted in ticks since a series was first seen, those of Skip included. expected: of the long memory; lower, upper: the union of both
// intervals. width 1; x any finite number, beyond 1e33 as 1e33; ready after warm_up_seconds and three values. Levels are doubles; scales, range and
// tails are single precision and remember at most some 1e5 values, profiles have 13 bits or more. O(1), 188 bytes a series, four series at once (models/lane_model.h).
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::seasonal_level {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::seasonal_level
