// Innovation: a value's distance from what was expected, and the winsorised exponentially weighted estimates learned from it, of all
// lanes at once: what robust_level, seasonal_level and step have in common. The hot path.
//
// An innovation enters at most 3 scales large (Huber 1964). Weights are alpha_t = max(alpha, 1/(t+3)) after a settling time
// at 1/3 a value, a quarter of the warm-up, in which the start of a series is forgotten (models/baseline.h does the same).
// A spread is kept in single precision and relative to itself, so that no square overflows; its weight is at least that of a
// tail's observation, because a smaller increment would be lost.
#pragma once
#include <algorithm>
#include <cmath>

#include "models/lane_tail.h"
#include "models/lane_width.h"
#include "models/model.h"

OUTLIER_LANES_BEGIN

inline constexpr double kMostValue = 1e33;      // larger numbers count as this: a thousand of its scales are finite
inline constexpr float kLeastScale = 1e-30f;    // and one over this

// Values.
inline Lanes WarmUp(const Options& options) {
  return AllLanes(std::max(2.0f, static_cast<float>(std::ceil(options.warm_up_seconds / options.tick_seconds))));
}

class Gain {
 public:
  // In values; half_life > 0.
  Gain(double half_life, double warm_up)
      : least_(AllLanes(static_cast<float>(-std::expm1(-M_LN2 / half_life)))),
        least_of_tail_(Max(least_, LaneTail::kLeastGain)),
        settle_(AllLanes(static_cast<float>(std::floor(warm_up / 4.0)))) {}
  // Of a value: the larger of these two.
  Lanes least() const { return least_; }
  // `learned`: values so far.
  OUTLIER_INLINE Lanes OfYoung(Lanes learned) const { return 1.0f / Max(learned - settle_ + 3.0f, 3.0f); }
  OUTLIER_INLINE LaneMask Settled(Lanes learned) const { return learned >= settle_; }
  // Of one observed |z|: the prior of a tail is worth 200 values.
  OUTLIER_INLINE Lanes OfTail(Lanes learned) const {
    return Where(Settled(learned), Max(1.0f / (learned + kTailPrior), least_of_tail_));
  }

 private:
  static constexpr float kTailPrior = 200.0f;
  Lanes least_, least_of_tail_, settle_;
};

// One value's distance from what was expected, in scales.
struct Innovation {
  Lanes scale, z;  // |z| at most kMostZ
  Lanes share;     // of the scale that is spread, the rest being its floor

  OUTLIER_INLINE static Innovation Of(Lanes error, Lanes spread, Lanes floor) {
    const Lanes scale = Max(spread, floor), inverse = 1.0f / scale;
    return {scale, Within(error * inverse, static_cast<float>(kMostZ)), spread * inverse};
  }
  OUTLIER_INLINE Lanes Winsorised() const { return Within(z, kMostTaught) * scale; }
  // The standard deviation with this innovation in it.
  OUTLIER_INLINE Lanes Spread(Lanes gain) const { return SpreadBy(Max(gain, LaneTail::kLeastGain)); }
  OUTLIER_INLINE Lanes SpreadBy(Lanes weight) const {
    const Lanes taught = Within(z, kMostTaught);
    return Max(scale * Sqrt((1.0f - weight) * (share * share + weight * taught * taught)), kLeastScale);
  }

 private:
  static constexpr float kMostTaught = 3.0f;
};

OUTLIER_LANES_END
