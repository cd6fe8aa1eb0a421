// beta_binomial: how surprising is it that so many of so many calls failed?
//
// The share of failures has a Beta posterior (a, b), discounted (West & Harrison 1997, ch. 10): a <- d a + k, b <- d b + (n - k), started at
// prior.rate x prior.weight and (1 - prior.rate) x prior.weight; here rate is a share, and weight counts calls. The predictive law of k
// failures among n calls is beta-binomial with mean share p = a / (a + b) and intra-class correlation rho, the larger of that of the posterior,
// 1 / (a + b + 1), and the tracked one (failures come in clusters): variance n p (1 - p) (1 + (n - 1) rho) (Skellam 1948).
// p = P(K >= k), one-sided: summed exactly where eight standard deviations are at most 4,096 failures, beyond that by the Beta law of the
// same mean and variance with a continuity correction, within a tenth of the exact tail where that is above 1e-6 (tests/models/beta_binomial_test.cc).
// z = 2 (asin sqrt(k / n) - asin sqrt(p)) sqrt(n / (1 + (n - 1) rho)) (Anscombe 1948), and 0 where nothing failed.
// While young, shares inside the seen range are not surprising (rule and fading as in models/baseline.h).
// width 2, [failures; calls] of one tick, 0 <= failures; more failures than calls count as that many calls; a tick without a call, or with a
// negative number, is masked; z within +-1000; ready after warm_up_seconds of ticks with calls.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::beta_binomial {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::beta_binomial
