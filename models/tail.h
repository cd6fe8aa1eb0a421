// The tail of a residual: P(|z| > a), calibrated on the residual's own past.
//
// Three quantiles of |z| are tracked by stochastic approximation (Robbins & Monro 1951): those passed with probability
// 1/2, 1/10 and 1/100. Below the last one, |z| is mapped to the normal deviate with the same probability, linearly
// between the knots: exact for a Gaussian of any scale, and p is uniform there, not only in the tail. Beyond it (u) a
// generalised-Pareto law holds (Pickands 1975): p = 0.01 (1 + xi (a - u) / sigma)^(-1/xi), with xi and sigma from the
// first two moments of the excess (Hosking & Wallis 1987, eq. 2.4), xi shrunk 70 % to its prior and held in [0.02, 0.6].
// Fresh fields are the prior: a Gaussian with a tail as heavy as host signals have.
//
// Beyond u this is exact for the prior's law and slow to become so for others: after n values of weight 1/n the prior still counts for
// (200 / n)^0.1 in the moments. On purpose, since faults teach them too. After 20,000 values what is called 1 in 1,000 and 1 in 10,000 is so 2
// and 3 times as often as that for Student's t with 4 degrees of freedom, and .25 and 0 times for a Gaussian (tests/models/calibration_test.cc).
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

// The law's numbers, for models/lane_tail.h too.
namespace tail_law {
// Normal deviates passed by |N(0,1)| with probability 1/2, 1/10, 1/100.
inline constexpr double kHalfDeviate = 0.6744897501960817;
inline constexpr double kTenthDeviate = 1.6448536269514722;
inline constexpr double kHundredthDeviate = 2.5758293035489004;
// A series on its scale floor has |z| near 0 always; these keep its law from shrinking below a light-tailed one with the
// floor as standard deviation, because the floor is the least credible spread.
inline constexpr double kLeastHalf = 0.2, kLeastTenth = 0.8, kLeastHundredth = 1.5, kLeastExcess = 0.2;
// Robbins-Monro gains: the reciprocal density at the knot of a standard normal, 1/0.64, 1/0.21; for the last,
// 0.6 mean excess / 0.01: that density is known only through the excess, and less than half of it would not converge.
inline constexpr double kHalfGain = 1.6, kTenthGain = 4.8, kHundredthGain = 60.0;
// Excesses come once in a hundred observations, so this remembers ten times as long as the quantiles do. With 50 a heavy tail is right
// after hours, but on labelled tables of servers fewer incidents are found at one false alarm a week (50 of 104 instead of 57).
inline constexpr double kExcessGain = 10.0;
inline constexpr double kMostExcess = 8.0;   // one observation's excess, in mean excesses
}  // namespace tail_law

inline constexpr double kLeastProbability = 1e-300;  // p is never 0
inline constexpr double kMostZ = 1000.0;             // |z| is clipped: a larger one says nothing more

}  // namespace outlier::models
