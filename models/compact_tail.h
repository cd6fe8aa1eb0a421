// CompactTail: the law of models/tail.h in 20 bytes and a few nanoseconds.
//
// Single precision holds the three quantiles and two moments; so that an increment is never lost to rounding, the gain of one
// observation is at least kLeastGain (a memory of about 1e5 observations). The body's normal probability is interpolated in
// a table of 1,024 intervals: absolute error below 1e-6, so p stays continuous and decreasing. Beyond the 1 % quantile
// models/tail.h itself is used. Inline and without unpredictable branches: half of all values lie beyond the median.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>

#include "models/tail.h"

namespace outlier::models {

struct CompactTail {
  static constexpr double kLeastGain = 1e-5;

  float half, tenth, hundredth, excess, excess_square;

  static CompactTail Of(const Tail& tail) {
    return {static_cast<float>(tail.half), static_cast<float>(tail.tenth), static_cast<float>(tail.hundredth),
            static_cast<float>(tail.excess), static_cast<float>(tail.excess_square)};
  }
  Tail Wide() const { return {half, tenth, hundredth, excess, excess_square}; }
  // In (0, 1]; 1 at a = 0. a >= 0.
  double Probability(double a, double prior_shape) const {
    return a > hundredth ? Wide().Probability(a, prior_shape) : BodyProbability(static_cast<float>(a));
  }
  void Learn(double observed, double weight) {
    using namespace tail_law;
    const float a = static_cast<float>(observed), gain = static_cast<float>(std::max(weight, kLeastGain));
    // copysign chooses between the two steps: +1/2 or -1/2, +9/10 or -1/10.
    half += static_cast<float>(kHalfGain / kHalfDeviate) * gain * half * std::copysign(0.5f, a - half);
    tenth += static_cast<float>(kTenthGain / kTenthDeviate) * gain * tenth * (0.4f + std::copysign(0.5f, a - tenth));
    if (a > hundredth) {
      LearnExcess(a, gain);
    } else {
      hundredth -= static_cast<float>(0.01 * kHundredthGain) * gain * excess;
    }
    half = std::max(half, static_cast<float>(kLeastHalf));
    tenth = std::max(std::max(tenth, static_cast<float>(kLeastTenth)), 1.05f * half);
    hundredth = std::max(std::max(hundredth, static_cast<float>(kLeastHundredth)), 1.05f * tenth);
  }

 private:
  float BodyProbability(float a) const;
  void LearnExcess(float a, float gain);
};

bool IsFinite(const CompactTail& tail);

namespace compact_tail {

inline constexpr int kIntervals = 1024;
// P(|N(0,1)| > k / 1024 of kHundredthDeviate).
extern const std::array<float, kIntervals + 2> kNormalTails;

}  // namespace compact_tail

inline float CompactTail::BodyProbability(float a) const {
  using namespace tail_law;
  constexpr float kScale = static_cast<float>(compact_tail::kIntervals / kHundredthDeviate);
  // Piecewise linear between the knots: each piece is full below its end.
  const float place = kScale * (static_cast<float>(kHalfDeviate) * std::min(a, half) / half +
                                static_cast<float>(kTenthDeviate - kHalfDeviate) * std::max(std::min(a, tenth) - half, 0.0f) / (tenth - half) +
                                static_cast<float>(kHundredthDeviate - kTenthDeviate) * std::max(a - tenth, 0.0f) / (hundredth - tenth));
  const int k = std::min(static_cast<int>(place), compact_tail::kIntervals);
  const float* at = compact_tail::kNormalTails.data() + k;
  return at[0] + (place - static_cast<float>(k)) * (at[1] - at[0]);
}

}  // namespace outlier::models
