#include "userspace/incidents/poisson_interval.h"

#include <cmath>

namespace outlier {
namespace {

constexpr double kTail = 0.025;

// P(at most `events` | mean).
double AtMost(double events, double mean) {
  double sum = 0.0;
  for (double k = 0.0; k <= events; k += 1.0) sum += std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0));
  return sum;
}

// The mean at which P(at most `events`) is `probability`: it falls with the mean.
double MeanAt(double events, double probability) {
  double low = 1e-12, high = 2.0 * events + 20.0;
  for (int step = 0; step < 60; ++step) {
    const double middle = 0.5 * (low + high);
    (AtMost(events, middle) > probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace

PoissonInterval PoissonIntervalOf(uint64_t events) {
  const double n = static_cast<double>(events);
  return {events == 0 ? 0.0 : MeanAt(n - 1.0, 1.0 - kTail), MeanAt(n, kTail)};
}

}  // namespace outlier
