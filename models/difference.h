// difference: robust_level on first differences x_t - x_{t-1}: sudden changes of a series whose level wanders.
//
// expected, lower and upper are those of x_t: the previous value plus the baseline of the differences. A tick after a gap
// has no difference: it is not judged. The relative floor is a share of the long-run mean |x|, not of the differences.
// width 1; ready after warm_up_seconds; O(1), about 128 bytes a series. Source: as robust_level.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::difference {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::difference
