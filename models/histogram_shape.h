// histogram_shape: has the distribution of durations changed?
//
// x: one column a series, counts of this tick in log-linear buckets (two an octave from 512 ns; bucket 0 is everything
// shorter, the last everything longer). Ticks are merged until there are 20 observations (5, after five ticks); between
// two judgements the last one stands. Against the exponentially weighted bucket shares of the past:
//  - signed Wasserstein-1 distance in octaves, sum |F - G| / 2 an octave step, + = slower: size and direction; judged by
//    a Baseline of its own with a floor of a quarter octave or the sampling noise of so few observations;
//  - G = 2 sum O ln(O/E) over buckets pooled to E >= 5 (Wilks 1938; Sokal & Rohlf 1981), divided by its own long-run mean
//    over the degrees of freedom where that exceeds 1 (overdispersion), against chi-square.
// p = max of both p-values: the change has to be large *and* beyond chance, hence P(p <= a) <= a: for 3 to 30 calls about .4 a at .1 and .15 a at
// .01, for thousands nothing below .1, because chance then makes no change of a size that matters. z is that of the distance.
// expected, lower, upper in seconds: median and central 99 % of the past. width = options.width, 2 to 256. Counts are single precision;
// buckets that a series never used cost nothing, and at either end count as one. 608 bytes a series of 52 buckets.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::histogram_shape {

// Edge below bucket k >= 1 in seconds: 512 ns x {1, 1.5} x 2^((k-1)/2); 0 for k = 0.
double BucketLowerSeconds(int bucket);
std::unique_ptr<Model> Make(const Options& options);

}  // namespace outlier::models::histogram_shape
