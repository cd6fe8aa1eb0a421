// Winsorised exponentially weighted estimates: what seasonal_level and step have in common. Pure, inline: the hot path.
//
// An innovation enters at most 3 scales large (Huber 1964). Weights are alpha_t = max(alpha, 1/(t+3)) after a settling time
// at 1/3 a value, a quarter of the warm-up, in which the start of a series is forgotten (models/baseline.h does the same).
#pragma once
#include <algorithm>
#include <cmath>

#include "models/tail.h"

namespace outlier::models {

class Gain {
 public:
  // In values; half_life > 0.
  Gain(double half_life, double warm_up)
      : least_(-std::expm1(-M_LN2 / half_life)), settle_(std::floor(warm_up / 4.0)), constant_(settle_ + 1.0 / least_) {}
  double least() const { return least_; }
  bool Settling(double learned) const { return learned < settle_; }
  double At(double learned) const {
    if (learned >= constant_) return least_;
    return Settling(learned) ? 1.0 / 3.0 : std::max(least_, 1.0 / (learned - settle_ + 3.0));
  }
  // Of one observed |z|: the prior of a tail is worth 200 values.
  double OfTail(double learned) const { return learned >= constant_ ? least_ : std::max(least_, 1.0 / (learned + kTailPrior)); }

 private:
  static constexpr double kTailPrior = 200.0;
  double least_, settle_, constant_;  // values from which on the weight is the least
};

inline double Clamped(double x) { return std::clamp(x, -1e100, 1e100); }  // its square is finite
inline double ClippedZ(double error, double scale) { return std::clamp(error / scale, -kMostZ, kMostZ); }
inline double Winsorised(double error, double scale) { return std::clamp(error, -3.0 * scale, 3.0 * scale); }
inline void Spread(double error, double gain, double* variance) { *variance += gain * ((1.0 - gain) * error * error - *variance); }

}  // namespace outlier::models
