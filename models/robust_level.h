// robust_level: how far is a value from its own level, in units of its own spread?
//
// z_t = (x_t - m_{t-1}) / max(s_{t-1}, floor), with winsorised exponentially weighted m and s (Roberts 1959; Huber 1964)
// and floor = max(prior.scale_floor, prior.relative_floor x long-run mean |x|). p is two-sided, from the calibrated tail
// (models/tail.h). Rules for cold starts, held levels and relearning: models/baseline.h.
// width 1; x any finite number; z within +-1000; ready after warm_up_seconds of observations. O(1), about 104 bytes a series.
#pragma once
#include <memory>

#include "models/baseline.h"
#include "models/model.h"

namespace outlier::models {

// Options as Baseline counts them, in ticks of options.tick_seconds.
BaselineOptions TicksOf(const Options& options);

namespace robust_level {
std::unique_ptr<Model> Make(const Options& options);
}

}  // namespace outlier::models
