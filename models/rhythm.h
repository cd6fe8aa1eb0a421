// rhythm: work that comes at regular intervals, each five minutes or each night, and fails to come.
//
// A beat begins when x rises above its level between beats by six of its spreads, half the level and prior.scale_floor, and has ended when x was
// back below half of that for five ticks. Level and spread are winsorised exponentially weighted means (Huber 1964) of the ticks
// between beats; intervals from beat to beat have a mean m and a standard deviation s, with weights of at least an eighth.
// A series has a rhythm after five intervals with s at most m / 50, or after eight with s at most m / 10; 20,000 intervals
// that came by chance (exponential) gave no alarm (tests/models/rhythm_test.cc). Elapsed beyond m, z = -(elapsed - m) / (s (1 + 3 / intervals) + m / 50 + one tick),
// and p is the normal upper tail of that. A beat that came k intervals late for a whole k of at least 2 teaches one k-th; when four intervals
// have passed without a beat the rhythm is given up, and learned anew. After a Skip of more than m / 50 elapsed is counted from there: a beat is due within an interval of it,
// and the interval that it ends teaches nothing.
// width 1; x >= 0; z in [-1000, 0], 0 where there is no rhythm; ready after warm_up_seconds. Masked ticks count as time, for who does not run
// does not work, but nothing is said in them.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::rhythm {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::rhythm
