// robust_level: how far is a value from its own level, in units of its own spread?
//
// z_t = (x_t - m_{t-1}) / max(s_{t-1}, floor), with winsorised exponentially weighted m and s (Roberts 1959; Huber 1964)
// and floor = max(prior.scale_floor, prior.relative_floor x long-run mean |x|). p is two-sided, from the calibrated tail
// (models/lane_tail.h). Rules for cold starts, held levels and relearning: models/baseline.h.
// width 1; x any finite number, beyond 1e33 as 1e33; z within +-1000; ready after warm_up_seconds of observations. Levels are doubles;
// scales, range and tails are single precision and remember at most some 1e5 values. O(1), 56 bytes a series, four series at once
// (models/lane_model.h).
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::robust_level {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::robust_level
