#include "models/special.h"

#include <algorithm>
#include <cmath>

#include "models/lanes.h"

namespace outlier::models {
namespace {

constexpr double kTiny = 1e-300;
constexpr double kEpsilon = 1e-14;
constexpr int kMostTerms = 10000;  // reached only for parameters above 1e7, where 1e-14 is not needed

// std::lgamma writes the global `signgam`; this one does not.
double LogGamma(double x) {
  int sign = 0;
  return lgamma_r(x, &sign);
}

double BetaFraction(double a, double b, double x) {
  double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0);
  d = 1.0 / (std::abs(d) < kTiny ? kTiny : d);
  double h = d;
  for (int m = 1; m <= kMostTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1.0;
    for (const double term : {even, odd}) {
      d = 1.0 + term * d;
      c = 1.0 + term / c;
      d = 1.0 / (std::abs(d) < kTiny ? kTiny : d);
      if (std::abs(c) < kTiny) c = kTiny;
      step = d * c;
      h *= step;
    }
    if (std::abs(step - 1.0) < kEpsilon) break;
  }
  return h;
}

}  // namespace

void LogOfOnePlus(std::span<const double> x, double times, double* out) {
  const auto of = [times](LanePair v) -> LanePair {
    const LanePair u = v > 0.0 ? v * times : LanePair{};
    return Log(1.0 + u) + (u - u);
  };
  size_t i = 0;
  for (; i + 2 <= x.size(); i += 2) {
    const LanePair y = of(LanePair{x[i], x[i + 1]});
    out[i] = y[0];
    out[i + 1] = y[1];
  }
  if (i < x.size()) out[i] = of(LanePair{x[i], 0.0})[0];
}

double NormalTwoSidedTail(double a) { return std::erfc(a * M_SQRT1_2); }

double NormalUpperQuantile(double p) {
  p = std::clamp(p, 1e-300, 1.0 - 1e-16);
  const bool upper = p < 0.5;
  const double q = upper ? p : 1.0 - p;
  // Acklam's central and tail rational approximations for the lower quantile of q <= 0.5.
  double x;
  if (q < 0.02425) {
    const double r = std::sqrt(-2.0 * std::log(q));
    x = (((((-7.784894002430293e-03 * r - 3.223964580411365e-01) * r - 2.400758277161838e+00) * r - 2.549732539343734e+00) * r +
          4.374664141464968e+00) * r + 2.938163982698783e+00) /
        ((((7.784695709041462e-03 * r + 3.224671290700398e-01) * r + 2.445134137142996e+00) * r + 3.754408661907416e+00) * r + 1.0);
  } else {
    const double c = q - 0.5, r = c * c;
    x = (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r + 1.383577518672690e+02) * r -
          3.066479806614716e+01) * r + 2.506628277459239e+00) * c /
        (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r + 6.680131188771972e+01) * r -
          1.328068155288572e+01) * r + 1.0);
  }
  const double density = std::exp(-0.5 * x * x) / std::sqrt(2.0 * M_PI);
  if (density > kTiny) {
    const double u = (0.5 * std::erfc(-x * M_SQRT1_2) - q) / density;
    x -= u / (1.0 + 0.5 * x * u);
  }
  return upper ? -x : x;
}

double RegularizedBeta(double a, double b, double x) {
  if (x <= 0.0) return 0.0;
  if (x >= 1.0) return 1.0;
  const double front = std::exp(LogGamma(a + b) - LogGamma(a) - LogGamma(b) + a * std::log(x) + b * std::log1p(-x));
  const double value =
      x < (a + 1.0) / (a + b + 2.0) ? front * BetaFraction(a, b, x) / a : 1.0 - front * BetaFraction(b, a, 1.0 - x) / b;
  return std::clamp(value, 0.0, 1.0);
}

double ChiSquareTail(double x, double degrees) {
  if (!(x > 0.0)) return 1.0;
  const double a = 0.5 * degrees, y = 0.5 * x;
  const double front = std::exp(a * std::log(y) - y - LogGamma(a));
  if (y < a + 1.0) {
    double term = 1.0 / a, sum = term;
    for (int n = 1; n <= kMostTerms && term > sum * kEpsilon; ++n) sum += term *= y / (a + n);
    return std::clamp(1.0 - front * sum, 0.0, 1.0);
  }
  double b = y + 1.0 - a, c = 1.0 / kTiny, d = 1.0 / b, h = d;
  for (int n = 1; n <= kMostTerms; ++n) {
    const double an = -n * (n - a);
    b += 2.0;
    d = an * d + b;
    c = b + an / c;
    d = 1.0 / (std::abs(d) < kTiny ? kTiny : d);
    if (std::abs(c) < kTiny) c = kTiny;
    h *= d * c;
    if (std::abs(d * c - 1.0) < kEpsilon) break;
  }
  return std::clamp(front * h, 0.0, 1.0);
}

double NegativeBinomialTail(double count, double mean, double size) {
  if (count <= 0.0) return 1.0;
  return RegularizedBeta(count, size, mean / (mean + size));
}

}  // namespace outlier::models
