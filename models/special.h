// Special functions the tail probabilities are made of. Pure, no allocation, finite for every argument in range.
#pragma once
#include <span>

namespace outlier::models {

// ln(1 + times x) of each x > 0, else 0; of an infinity, not a number. times > 0. Within 5e-16 of it or of 1, whichever is more.
void LogOfOnePlus(std::span<const double> x, double times, double* out);
// P(|N(0,1)| > a), a >= 0.
double NormalTwoSidedTail(double a);
// x with P(N(0,1) > x) = p, p in (0, 1). Acklam (2003) rational start and one Halley step; relative error < 1e-9.
double NormalUpperQuantile(double p);
// I_x(a, b), the regularised incomplete beta function, a, b > 0, x in [0, 1]. Continued fraction by the modified Lentz
// method (Abramowitz & Stegun 1964, 26.5.8).
double RegularizedBeta(double a, double b, double x);
// P(chi-square with `degrees` > x). Series and continued fraction of the incomplete gamma function (A&S 6.5.29, 6.5.31).
double ChiSquareTail(double x, double degrees);
// P(X >= count) of a negative binomial with this mean and variance = mean (1 + mean/size): I_{mean/(mean+size)}(count, size).
double NegativeBinomialTail(double count, double mean, double size);

}  // namespace outlier::models
