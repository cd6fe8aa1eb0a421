// What the series of simulated hosts have in common: which are made, how large they are, and the numbers of some laws.
#pragma once
#include <utility>

#include "userspace/stream/feature.h"

namespace outlier::quality {

inline constexpr int kRareRates = 8;                       // classes of rare events
inline constexpr double kSparseRates[2] = {0.02, 0.1};     // medians of the two classes of sparse counts, events a second
inline constexpr double kSparseSigma = 1.2;                // of the logarithm of their rate
inline constexpr double kLogNormalSigma = 0.3;             // of the logarithm of log-normal rates

bool IsMade(const FeatureSpec& spec);   // judged, of a workload, and no call of a class that is not made
bool IsWork(FeatureKind kind);          // follows what the workload does
bool IsGauge(FeatureKind kind);         // needs no tick before
// Means spread over the range that hosts show, on a logarithmic scale.
std::pair<double, double> RangeOf(FeatureKind kind);
double QuantumOf(FeatureKind kind);     // resolution; 0 = continuous

// To the next whole number, for |x| < 2^51: adding and taking away 1.5 * 2^52 leaves no room for fractions.
inline double Rounded(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

}  // namespace outlier::quality
