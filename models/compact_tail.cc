#include "models/compact_tail.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace outlier::models {
namespace {

constexpr double kDeviates[] = {0.0, 0.6744897501960817, 1.6448536269514722, 2.5758293035489004};
constexpr int kIntervals = 1024;
constexpr double kStep = kDeviates[3] / kIntervals;

constexpr double Exponential(double x) {  // x in [-4, 0]: the series of exp(-x), inverted
  double term = 1.0, sum = 1.0;
  for (int k = 1; k < 40; ++k) {
    term *= -x / k;
    sum += term;
  }
  return 1.0 / sum;
}

constexpr double TwiceDensity(double a) { return 0.7978845608028654 * Exponential(-0.5 * a * a); }

// P(|N(0,1)| > k kStep), summed by Simpson's rule, whose error here is below 1e-12.
constexpr std::array<float, kIntervals + 2> NormalTails() {
  std::array<float, kIntervals + 2> out{};
  double p = 1.0;
  for (int k = 0; k < kIntervals + 2; ++k) {
    out[k] = static_cast<float>(p);
    const double a = k * kStep;
    p -= kStep / 6.0 * (TwiceDensity(a) + 4.0 * TwiceDensity(a + 0.5 * kStep) + TwiceDensity(a + kStep));
  }
  return out;
}

constexpr std::array<float, kIntervals + 2> kTails = NormalTails();

}  // namespace

double CompactTail::Probability(double a, double prior_shape) const {
  if (a > hundredth) return Wide().Probability(a, prior_shape);
  double deviate;
  if (a <= half) {
    deviate = kDeviates[1] * a / half;
  } else if (a <= tenth) {
    deviate = kDeviates[1] + (kDeviates[2] - kDeviates[1]) * (a - half) / (tenth - half);
  } else {
    deviate = kDeviates[2] + (kDeviates[3] - kDeviates[2]) * (a - tenth) / (hundredth - tenth);
  }
  const double place = deviate / kStep;
  const int k = std::min(static_cast<int>(place), kIntervals);
  return kTails[k] + (place - k) * (kTails[k + 1] - kTails[k]);
}

void CompactTail::Learn(double a, double gain) {
  Tail wide = Wide();
  wide.Learn(a, std::max(gain, kLeastGain));
  *this = Of(wide);
}

bool IsFinite(const CompactTail& tail) {
  return std::isfinite(tail.half) && std::isfinite(tail.tenth) && std::isfinite(tail.hundredth) && std::isfinite(tail.excess) &&
         std::isfinite(tail.excess_square);
}

}  // namespace outlier::models
