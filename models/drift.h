// drift: does a level grow steadily (a leak), whatever its size?
//
// Four windows of eight sub-intervals (2 s, 8 s, 60 s, 600 s each). A window's growth is 8 x the second smallest of its
// eight steps between sub-interval means (the second largest when falling), and never more than the net change: an order
// statistic, robust like a median of pairwise slopes (Sen 1968) but asking seven of eight sub-intervals to grow. One allocation (a
// single step), a saw-tooth that falls back and noise around a level all give zero or little. Growth is judged against
// its own past windows (models/baseline.h), at least max(prior.scale_floor, prior.relative_floor x level) of noise.
//
// Growth is told only beyond where the level had been before the window, by a floor or a quarter of the range it had: memory that is collected and grows again, or warms up
// after a restart, is no leak; one that adds to each tooth is, at its top.
//
// z and p are those of the most telling window, p corrected for their number (Bonferroni): P(p <= a) <= a for noise around a level with a
// memory of up to a minute, next to nothing in fact. A level that wanders as slowly as the windows (a random walk) does grow, and is told of
// as such: p <= 1e-4 in 5 to 10 % of the ticks of a walk, since what grows does not teach what is usual. rate: the median step of that
// window per second; 0 when nothing grows. expected, lower, upper: the level before the growth. Unit of x any, usually By.
// width 1; ready after warm_up_seconds and one full window; a window is judged once it lies a window's length past its
// first filling, so that growth during start-up is learned, not told.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::drift {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::drift
