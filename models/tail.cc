#include "models/tail.h"

#include <algorithm>
#include <cmath>

#include "models/special.h"

namespace outlier::models {
namespace {

using namespace tail_law;

constexpr double kShrink = 0.7, kLeastShape = 0.02, kMostShape = 0.6;  // measured on labelled tables of servers

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
  // Without a branch, because half of all values lie beyond the median: each piece is full below its end.
  const double deviate = kHalfDeviate * std::min(a, half) / half +
                         (kTenthDeviate - kHalfDeviate) * std::max(std::min(a, tenth) - half, 0.0) / (tenth - half) +
                         (kHundredthDeviate - kTenthDeviate) * std::max(a - tenth, 0.0) / (hundredth - tenth);
  return NormalTwoSidedTail(deviate);
}

void Tail::Learn(double a, double gain) {
  // The sign chooses between the two steps: +1/2 or -1/2, +9/10 or -1/10.
  half += kHalfGain / kHalfDeviate * gain * half * std::copysign(0.5, a - half);
  tenth += kTenthGain / kTenthDeviate * gain * tenth * (0.4 + std::copysign(0.5, a - tenth));
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
