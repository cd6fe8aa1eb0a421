// SeenPeak: the largest size that went beyond the seen range and is not believed yet, of all lanes at once. A family whose scale is at least a
// share of that range would be deaf for weeks after one glitch: 1e4 among numbers of unit spread makes 2 % of the range 200 spreads.
//
// A size beyond the range widens it up to 10 spreads. One further out is a peak. It counts as seen while it fades, linearly within 60 ticks, so
// that the rest of a burst is measured by its beginning; and the range reaches as far as the lesser of the two once another size, at least 5
// ticks later, goes beyond it, too. So what stays or comes again teaches for good, and what came once does not. At the start of a series,
// which has no spread yet, two ticks later is enough: a glitch of one value makes two differences.
#pragma once
#include "models/lane_width.h"

OUTLIER_LANES_BEGIN

struct SeenPeak {
  Lanes size;   // 0: none
  Lanes ticks;  // since it came; beyond 2^24 nothing depends on it

  // What counts as seen besides the range.
  OUTLIER_INLINE Lanes Fading() const { return size * Max(1.0f - ticks * (1.0f / kFades), 0.0f); }
  // How far sizes may take the range now. `learned`: sizes so far.
  OUTLIER_INLINE Lanes Reach(Lanes spread, Lanes learned) const {
    return Max(kFree * spread, Where((ticks >= kConfirms) | ((learned < kYoung) & (ticks > 0.0f)), size));
  }
  // A size and whether it is beyond the range; `keeps`: the share of itself that the range does not forget in a tick.
  OUTLIER_INLINE void Learn(Lanes now, LaneMask beyond, Lanes keeps) {
    const Lanes kept = size * keeps;
    ticks = Where(~(beyond & (now > kAnother * kept)), ticks + 1.0f);
    size = Max(kept, Where(beyond, now));
  }

 private:
  static constexpr float kFades = 60.0f, kConfirms = 5.0f;  // ticks; on labelled tables half of it or twice changes next to nothing
  static constexpr float kFree = 10.0f;                     // spreads
  static constexpr float kAnother = 2.0f;                   // times the peak: less is the same one
  static constexpr float kYoung = 15.0f;                    // sizes
};

OUTLIER_LANES_END
