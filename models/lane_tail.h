// LaneTail: the law of models/tail.h for all lanes at once, in 20 bytes a series.
//
// Single precision holds the three quantiles and two moments; so that an increment is never lost to rounding, the weight of one
// observation is at least kLeastGain (a memory of about 1e5 observations), or 0. The body's normal probability is a polynomial:
// absolute error below 1.5e-6, decreasing, never below what the tail beyond begins with. Beyond the 1 % quantile models/tail.h itself
// is used, one series at a time: rare.
#pragma once
#include "models/lane_width.h"
#include "models/tail.h"

OUTLIER_LANES_BEGIN

struct LaneTail {
  static constexpr float kLeastGain = 1e-5f;

  Lanes half, tenth, hundredth, excess, excess_square;

  // Makes one lane the prior.
  void Begin(int lane, const Tail& prior) {
    half[lane] = static_cast<float>(prior.half);
    tenth[lane] = static_cast<float>(prior.tenth);
    hundredth[lane] = static_cast<float>(prior.hundredth);
    excess[lane] = static_cast<float>(prior.excess);
    excess_square[lane] = static_cast<float>(prior.excess_square);
  }
  Tail At(int lane) const { return {half[lane], tenth[lane], hundredth[lane], excess[lane], excess_square[lane]}; }

  // The size of the normal number that is as rare as |z| = a, for a at most `hundredth`; beyond, that of `hundredth`. a >= 0.
  OUTLIER_INLINE Lanes Deviate(Lanes a) const {
    using namespace tail_law;
    // Piecewise linear between the knots: each piece is full below its end.
    return static_cast<float>(kHalfDeviate) * Min(a, half) / half +
           static_cast<float>(kTenthDeviate - kHalfDeviate) * Max(Min(a, tenth) - half, 0.0f) / (tenth - half) +
           static_cast<float>(kHundredthDeviate - kTenthDeviate) * Max(Min(a, hundredth) - tenth, 0.0f) / (hundredth - tenth);
  }
  // P(|N(0,1)| > deviate), in [0.01, 1]. 0 <= deviate <= kHundredthDeviate.
  OUTLIER_INLINE static Lanes Probability(Lanes deviate) {
    // 1 - deviate times a polynomial, fitted for the least largest error by iteratively reweighted least squares.
    constexpr float c[] = {7.97906776e-1f, -2.98331029e-4f, -1.31652397e-1f, -2.65879805e-3f, 2.23437066e-2f,
                           -2.91389808e-4f, -3.63922136e-3f, 1.07808181e-3f, -9.93718663e-5f};
    const Lanes square = deviate * deviate, fourth = square * square;
    const Lanes low = (c[0] + c[1] * deviate) + square * (c[2] + c[3] * deviate);
    const Lanes high = (c[4] + c[5] * deviate) + square * (c[6] + c[7] * deviate);
    return Max(1.0f - deviate * (low + fourth * (high + fourth * c[8])), 0.010000001f);
  }

  // `gain`: the weight of this observation, 0 = none. a >= 0.
  OUTLIER_INLINE void Learn(Lanes a, Lanes gain) {
    using namespace tail_law;
    // The sign chooses between the two steps: +1/2 or -1/2, +9/10 or -1/10.
    half += static_cast<float>(kHalfGain / kHalfDeviate) * gain * half * CopySign(AllLanes(0.5f), a - half);
    tenth += static_cast<float>(kTenthGain / kTenthDeviate) * gain * tenth * (0.4f + CopySign(AllLanes(0.5f), a - tenth));
    const LaneMask beyond = a > hundredth;
    const Lanes over = Min(a - hundredth, static_cast<float>(kMostExcess) * excess);
    hundredth -= static_cast<float>(0.01 * kHundredthGain) * gain * excess;
    if (Any(beyond)) [[unlikely]] {
      hundredth += Where(beyond, static_cast<float>(kHundredthGain) * gain * excess);
      const Lanes weight = Where(beyond, Min(static_cast<float>(kExcessGain) * gain, 0.5f));
      excess = Max(excess + weight * (over - excess), static_cast<float>(kLeastExcess));
      excess_square = Max(excess_square + weight * (over * over - excess_square), excess * excess);
    }
    half = Max(half, static_cast<float>(kLeastHalf));
    tenth = Max(Max(tenth, static_cast<float>(kLeastTenth)), 1.05f * half);
    hundredth = Max(Max(hundredth, static_cast<float>(kLeastHundredth)), 1.05f * tenth);
  }
};

OUTLIER_LANES_END
