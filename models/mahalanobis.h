// mahalanobis: do the values of one group depart together in a way they do not usually?
//
// x: one column a group of width() numbers around zero, usually robust z and clipped by the caller. Their second moments are
// exponentially weighted (alpha_t = max(alpha, 1/(t + 2 width + 1)), from unit variances), off-diagonal ones shrunk by a fifth towards zero (Ledoit & Wolf
// 2004, with a fixed intensity), plus 0.16 on the diagonal. d^2 = x' S^-1 x / k (Mahalanobis 1936), k of the numbers having
// ever varied, by a Cholesky factor renewed every 30 ticks. An observation with d^2 > 8 teaches as if it lay at d^2 = 8.
// p: the tail of d on its own past (models/tail.h), from its median up; so nothing is assumed of the joint law. Below the median, as for a
// chi-square of k degrees of freedom with that median (Wilson & Hilferty 1931). z is the signless d. Of Gaussian groups p is uniform down
// to .1; from there on P(p <= a) <= a, far less for wide or correlated groups: d never counts as 1 in a hundred below 1.5.
//
// expected: the median of d; lower 0; upper its 1 % quantile; in units of d, not of x. width = options.width, at least 1;
// numbers beyond +-1e6 count as that. Ready after warm_up_seconds and 2 x width ticks. A tick is O(width^2), a renewal
// O(width^3 / 6); about 8 width^2 bytes a group. prior.scale_floor and relative_floor do not matter here.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::mahalanobis {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::mahalanobis
