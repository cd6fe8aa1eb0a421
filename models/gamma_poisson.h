// gamma_poisson: how surprising is this many events in one tick?
//
// Events come at a rate with a Gamma posterior (a, b), discounted (West & Harrison 1997, ch. 10): a <- d a + x,
// b <- d b + seconds, started at prior.rate x prior.weight and prior.weight. The predictive law of a count is negative
// binomial with mean mu = a T / b and variance mu (phi + mu / a), where phi >= 1 is the tracked overdispersion (bursts).
// p = P(X >= x), one-sided: fewer events are silence's business. Randomised it is uniform where the prior knows the rate; a rate far above
// the prior's is taken for bursts at first, and p is too large for an hour or more. phi is learned after the warm-up, from counts cut off at
// four deviations: where those are usual (a negative binomial of size 1/2) p <= .001 comes 1.3 times too often.
// z = 2 (sqrt(x) - sqrt(mu)) / sqrt(phi) (Anscombe 1948).
// While young, counts inside the seen range are not surprising (rule and fading as in models/baseline.h).
// width 1; x >= 0 (negative counts are masked); z within +-1000; ready after warm_up_seconds (0 = from the first tick).
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::gamma_poisson {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::gamma_poisson
