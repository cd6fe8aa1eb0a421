// CompactTail: the law of models/tail.h in 20 bytes and a few nanoseconds.
//
// Single precision holds the three quantiles and two moments; so that an increment is never lost to rounding, the gain of one
// observation is at least kLeastGain (a memory of about 1e5 observations). The body's normal probability is interpolated in
// a table of 1,024 intervals: absolute error below 1e-6, so p stays continuous and decreasing. Beyond the 1 % quantile, and
// for learning, models/tail.h itself is used.
#pragma once
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
  // In (0, 1]; 1 at a = 0.
  double Probability(double a, double prior_shape) const;
  void Learn(double a, double gain);
};

bool IsFinite(const CompactTail& tail);

}  // namespace outlier::models
