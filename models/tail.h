// The tail of a residual: P(|z| > a), calibrated on the residual's own past.
//
// Three quantiles of |z| are tracked by stochastic approximation (Robbins & Monro 1951): those passed with probability
// 1/2, 1/10 and 1/100. Below the last one, |z| is mapped to the normal deviate with the same probability, linearly
// between the knots: exact for a Gaussian of any scale, and p is uniform there, not only in the tail. Beyond it (u) a
// generalised-Pareto law holds (Pickands 1975): p = 0.01 (1 + xi (a - u) / sigma)^(-1/xi), with xi and sigma from the
// first two moments of the excess (Hosking & Wallis 1987, eq. 2.4), xi shrunk 70 % to its prior and held in [0.02, 0.6].
// Fresh fields are the prior: a Gaussian with a tail as heavy as host signals have.
#pragma once

namespace outlier::models {

struct Tail {
  double half, tenth, hundredth;  // the tracked quantiles of |z|
  double excess, excess_square;   // moments of |z| - hundredth beyond it

  // What is believed before anything was seen. `shape` in (0, 0.5).
  static Tail Prior(double shape);
  // In (0, 1]; 1 at a = 0, decreasing, continuous.
  double Probability(double a, double prior_shape) const;
  // One observed |z|; `gain` in (0, 1) is the weight of one observation.
  void Learn(double a, double gain);
};

inline constexpr double kLeastProbability = 1e-300;  // p is never 0
inline constexpr double kMostZ = 1000.0;             // |z| is clipped: a larger one says nothing more

}  // namespace outlier::models
