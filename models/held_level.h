// held_level: has the mean of the last minutes stayed away from where it usually is at this hour?
//
// Two clocks, each with a scale of its own, because means are quieter than values: bins of 60 s and of 600 s. A bin's mean
// is compared with two memories, winsorised exponentially weighted level and variance (Roberts 1959; Huber 1964, proposal 2:
// innovations enter at most 1.5 scales large, so that one bin in five may be a job and the scale stays that of the others):
//  - the long one, half-life options.half_life_seconds;
//  - the short one, 1/24 of that, which accepts a new level within hours.
// Both see the mean less a profile of the day, linear between 24 hours (Winters 1960), learned from the 60 s bins and used after
// a day where it lowers their mean square residual by a tenth or more; and less what the day of the week adds to it, linear between 14 half
// days, which is used after two weeks on the same condition.
//
// A bin's z is the smaller of the two, 0 where they disagree in sign. z of a clock is the least same-sign |z| over its last
// 5 or 6 bins: persistence, which an excursion shorter than three minutes has none of. z of the series: that of the clock that
// says most; it stands until a bin closes. p: two-sided normal tail of it, hence P(p <= a) <= a for Gaussian noise of any memory up to hours:
// down to .01 a tenth of a or more for what remembers 20 minutes or an hour, nothing below .1 for what remembers none, which is not held.
//
// expected: the usual mean of a minute; lower, upper: outside of which a minute's z exceeds that of p = 0.01. Scale >=
// max(prior.scale_floor, prior.relative_floor x |level|), and wider while a clock has few bins. cold_seconds and relearn_seconds
// do not matter here. The day is counted in ticks since a series was first seen, those of Skip included. width 1; x any finite number; z within +-1000;
// ready after warm_up_seconds and after eight minutes. O(1), 352 bytes a series, of which a tick between two
// bins touches 24.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::held_level {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::held_level
