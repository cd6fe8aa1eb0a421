#include "models/compact_tail.h"

namespace outlier::models {
namespace {

using compact_tail::kIntervals;
constexpr double kStep = tail_law::kHundredthDeviate / kIntervals;

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

}  // namespace

namespace compact_tail {
constexpr std::array<float, kIntervals + 2> kNormalTails = NormalTails();
}

void CompactTail::LearnExcess(float a, float gain) {
  using namespace tail_law;
  const float over = std::min(a - hundredth, static_cast<float>(kMostExcess) * excess);
  const float weight = std::min(static_cast<float>(kExcessGain) * gain, 0.5f);
  hundredth += static_cast<float>(0.99 * kHundredthGain) * gain * excess;
  excess = std::max(excess + weight * (over - excess), static_cast<float>(kLeastExcess));
  excess_square = std::max(excess_square + weight * (over * over - excess_square), excess * excess);
}

bool IsFinite(const CompactTail& tail) {
  return std::isfinite(tail.half) && std::isfinite(tail.tenth) && std::isfinite(tail.hundredth) && std::isfinite(tail.excess) &&
         std::isfinite(tail.excess_square);
}

}  // namespace outlier::models
