// held_record: has it held a level, or risen by as much, as it never did in all the hours that it was watched?
//
// Where a workload does many times its work now and then, its spread says little of a fault, and where a day has its tides, so does its
// level. What it held at most says more. From the means of minutes, three statistics of what goes up: the least of the last five; that
// less the level before them (of about ten minutes); and the lesser of the last two means of ten minutes less that of the half
// hour that ended 40 minutes ago. What is shorter than five minutes has none of them, whatever its size.
//
// Of each, the eight largest maxima of an hour are kept, the largest of them for a week. Maxima of hours that are exchangeable exceed all
// n before with probability 1 / (n + 1) (Renyi 1962), and by x s with (1 + x / 7)^-7 where they fall off exponentially: s = the mean of
// the seven largest less the eighth (Weissman 1978), which is Gamma distributed. s is at least half of max(prior.scale_floor,
// prior.relative_floor x |largest level|). An hour's maximum counts when the hour is over: what goes on is accepted within one.
//
// z = 7/8 x of the statistic that exceeds most; it stands until a minute ends. p = (1 + x / 7)^-7 / (n + 1): P(p <= a) <= a, where the
// level remembers an hour, so that hours are not quite exchangeable, at most twice that. expected: what was held at most; lower,
// upper: the level before the last minutes, and one s more. Of the options only tick_seconds and the floors matter here. width 1; x any finite number; z in
// [0, 1000]; ready after a minute, but nothing is a record (z = 0, p = 1) before 24 hours and ten minutes of watching, nor
// for 130 minutes after a break, since caches fill then. O(1), 188 bytes a series, of which a
// tick between two minutes touches 16.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::held_record {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::held_record
