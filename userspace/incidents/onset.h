// Onset: when a departure began, as opposed to when it was found. Pure functions over the newest values of one feature,
// newest first, std::nullopt where absent. Results are ages in ticks: the age of the first departed tick, 0 = the newest.
#pragma once
#include <optional>
#include <vector>

namespace outlier {

using Recent = std::vector<std::optional<double>>;

// A held shift: the first tick of the run that lies beyond the middle between what was expected and what is now (median
// of the newest five); one straggler inside the run is forgiven. The split that maximises the likelihood of two levels
// with equal noise lies where values cross that middle (Hinkley 1970, eq. 2.3, for a known first level).
int StepOnset(const Recent& recent, double expected);

// Growth: where a line through the newest values, with the slope of Theil (1950) and Sen (1968), leaves the level before it.
struct Growth {
  double per_tick = 0;     // median of pairwise slopes
  double share_rising = 0; // of the ticks since onset
  double largest_jump = 0; // largest single increase, as a share of the whole growth
  int onset = 0;
};
Growth GrowthOf(const Recent& recent, double expected);

// Whether growth is spread over many ticks, not one jump: what tells a leak from an allocation.
bool IsDrift(const Growth& growth, int ticks);

// Nothing happens any more: the tick after the last one with at least a tenth of what was expected.
int SilenceOnset(const Recent& recent, double expected);

}  // namespace outlier
