#include "models/tail.h"

#include <algorithm>
#include <cmath>

#include "models/special.h"

namespace outlier::models {
namespace {

// Normal deviates passed by |N(0,1)| with probability 1/2, 1/10, 1/100.
constexpr double kHalfDeviate = 0.6744897501960817;
constexpr double kTenthDeviate = 1.6448536269514722;
constexpr double kHundredthDeviate = 2.5758293035489004;

constexpr double kShrink = 0.7, kLeastShape = 0.02, kMostShape = 0.6;  // DETECTION: measured on SMD, KPI, ASD
// A series on its scale floor has |z| near 0 always; these keep its law from shrinking below a light-tailed one with the
// floor as standard deviation, because the floor is the least credible spread.
constexpr double kLeastHalf = 0.2, kLeastTenth = 0.8, kLeastHundredth = 1.5, kLeastExcess = 0.2;
// Robbins-Monro gains: the reciprocal density at the knot of a standard normal, 1/0.64, 1/0.21; for the last,
// 0.6 mean excess / 0.01: that density is known only through the excess, and less than half of it would not converge.
constexpr double kHalfGain = 1.6, kTenthGain = 4.8, kHundredthGain = 60.0;
constexpr double kExcessGain = 10.0;    // excesses come once in a hundred observations
constexpr double kMostExcess = 8.0;     // one observation's excess, in mean excesses

}  // namespace

Tail Tail::Prior(double shape) {
  const double sigma = 0.4;
  const double excess = sigma / (1.0 - shape);
  // Second moment of a generalised Pareto: 2 sigma^2 / ((1 - xi)(1 - 2 xi)).
  return {kHalfDeviate, kTenthDeviate, kHundredthDeviate, excess, 2.0 * sigma * sigma / ((1.0 - shape) * (1.0 - 2.0 * shape))};
}

double Tail::Probability(double a, double prior_shape) const {
  if (a > hundredth) {
    const double variance = std::max(excess_square - excess * excess, 1e-6);
    const double moments = 0.5 * (1.0 - excess * excess / variance);
    const double shape = std::clamp((1.0 - kShrink) * moments + kShrink * prior_shape, kLeastShape, kMostShape);
    const double sigma = std::max(excess * (1.0 - shape), 0.1);
    return std::max(0.01 * std::exp(-std::log1p(shape * (a - hundredth) / sigma) / shape), kLeastProbability);
  }
  double deviate;
  if (a <= half) {
    deviate = kHalfDeviate * a / half;
  } else if (a <= tenth) {
    deviate = kHalfDeviate + (kTenthDeviate - kHalfDeviate) * (a - half) / (tenth - half);
  } else {
    deviate = kTenthDeviate + (kHundredthDeviate - kTenthDeviate) * (a - tenth) / (hundredth - tenth);
  }
  return NormalTwoSidedTail(deviate);
}

void Tail::Learn(double a, double gain) {
  half += kHalfGain * gain * half * (a > half ? 0.5 : -0.5) / kHalfDeviate;
  tenth += kTenthGain * gain * tenth * (a > tenth ? 0.9 : -0.1) / kTenthDeviate;
  if (a > hundredth) {
    const double over = std::min(a - hundredth, kMostExcess * excess);
    const double weight = std::min(kExcessGain * gain, 0.5);
    hundredth += kHundredthGain * gain * excess * 0.99;
    excess += weight * (over - excess);
    excess_square += weight * (over * over - excess_square);
  } else {
    hundredth -= kHundredthGain * gain * excess * 0.01;
  }
  half = std::max(half, kLeastHalf);
  tenth = std::max({tenth, kLeastTenth, 1.05 * half});
  hundredth = std::max({hundredth, kLeastHundredth, 1.05 * tenth});
  excess = std::max(excess, kLeastExcess);
  excess_square = std::max(excess_square, excess * excess);
}

}  // namespace outlier::models
