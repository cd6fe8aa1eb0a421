#include "models/beta_binomial.h"

#include <algorithm>
#include <cmath>

#include "models/series_model.h"
#include "models/special.h"
#include "models/table_model.h"
#include "models/tail.h"
#include "models/wide_table.h"

namespace outlier::models::beta_binomial {
namespace {

constexpr double kMostCalls = 1e12;
constexpr double kMostTerms = 4096.0;           // of a tail that is summed
constexpr double kInside = 2.5758293035489004;   // |z| of a 1-in-100 value
constexpr double kExcursion = 4.0;               // z from which a share is under suspicion
constexpr double kForgiveSeconds = 10.0;         // an excursion shorter than this that ended was life
constexpr double kDispersionWeight = 30.0;       // ticks that independent failures are worth at the start
constexpr double kRelearnTicks = 60.0;           // of belief in a share that was accepted after a long hold
constexpr double kNoneExpected = 0.5;            // failures in a tick: none then says nothing of clusters
constexpr double kLeastShare = 1e-9, kMostCorrelation = 0.99;

// P(K >= k), k whole and positive, of n calls with mean share p and correlation rho.
double UpperTail(double k, double n, double p, double rho) {
  const double size = n / (1.0 + (n - 1.0) * rho);  // as many independent calls
  if (8.0 * n * std::sqrt(p * (1.0 - p) / size) > kMostTerms) {
    // The Beta law of k / n with this mean and variance.
    return size <= 1.0 ? p : RegularizedBeta((1.0 - p) * (size - 1.0), p * (size - 1.0), std::clamp(1.0 - (k - 0.5) / n, 0.0, 1.0));
  }
  const double a = p * (1.0 / rho - 1.0), b = (1.0 - p) * (1.0 / rho - 1.0);
  double term = std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) + std::lgamma(k + a) + std::lgamma(n - k + b) -
                         std::lgamma(n + a + b) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b));
  double sum = 0.0;
  for (double j = k; j <= n; j += 1.0) {
    sum += term;
    const double ratio = (n - j) / (j + 1.0) * (j + a) / (n - j - 1.0 + b);
    if (ratio < 1.0 && term * ratio < 1e-12 * sum * (1.0 - ratio)) break;  // what is left is less than a geometric series
    term *= ratio;
  }
  return sum;
}

class BetaBinomial final : public SeriesModel<BetaBinomial, TableModel<WideTable>> {
 public:
  explicit BetaBinomial(const Options& options)
      : SeriesModel(WideTable("beta_binomial", 1, kFields)),
        failures_(std::clamp(options.prior.rate, kLeastShare, 0.5) * options.prior.weight), calls_(options.prior.weight),
        tick_(options.tick_seconds), discount_(std::exp2(-options.tick_seconds / options.half_life_seconds)),
        warm_ticks_(options.warm_up_seconds / options.tick_seconds), cold_ticks_(options.cold_seconds / options.tick_seconds),
        relearn_ticks_(options.relearn_seconds / options.tick_seconds),
        high_forgets_(cold_ticks_ > 0.0 ? std::min(1.0, 2.0 * M_LN2 / (cold_ticks_ + 1.0)) : 0.0) {}
  int width() const override { return 2; }

 private:
  friend SeriesModel;
  struct Seen {
    bool counted;
    double failures, calls;
  };
  struct Belief {
    double share, correlation, size;  // size: as many independent calls as these say as much
  };
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const Seen seen = SeenIn(x, mask, i);
    const Belief b = BeliefOf(i, seen.calls);
    Tell(i, seen, b, seen.counted ? Z(i, seen, b) : 0.0, out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    const Seen seen = SeenIn(x, mask, i);
    if (!seen.counted) return;
    const Belief b = BeliefOf(i, seen.calls);
    Learn(i, seen, b, Z(i, seen, b));
  }
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    const Seen seen = SeenIn(x, mask, i);
    const Belief b = BeliefOf(i, seen.calls);
    const double z = seen.counted ? Z(i, seen, b) : 0.0;
    Tell(i, seen, b, z, out);
    if (seen.counted) Learn(i, seen, b, z);
  }

  // Mostly nothing fails in any of four.
  OUTLIER_INLINE bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out) {
    LanePair* block = table_.block(first);
    if (out->notable <= 0.0) return false;
    if (AllAbsent(mask, first)) {
      for (int half = 0; half < 2; ++half) SeriesModel::Tell(first + 2 * half, LanePair{}, block[2 * kAge + half] >= warm_ticks_, out);
      return true;
    }
    if (!AllPresent(mask, first)) return false;
    LanePair seen[2];
    PairMask plain{-1, -1};
    for (int half = 0; half < 2; ++half) {
      const double* one = x.data() + (first + 2 * half) * x.outerStride();
      const double* other = one + x.outerStride();
      const LanePair failures{one[0], other[0]};
      seen[half] = LanePair{one[1], other[1]};
      plain &= (failures == 0.0) & (seen[half] > 0.0) & (seen[half] <= kMostCalls) & (block[2 * kHold + half] == 0.0);
    }
    if (Any(~plain)) return false;
    for (int half = 0; half < 2; ++half) {
      LanePair &age = block[2 * kAge + half], &failures = block[2 * kFailures + half], &calls = block[2 * kCalls + half];
      LanePair &correlation = block[2 * kCorrelation + half], &high = block[2 * kHigh + half];
      const PairMask warm = age >= warm_ticks_;
      SeriesModel::Tell(first + 2 * half, LanePair{}, warm, out);
      const LanePair share = Min(Max((failures_ + failures) / (calls_ + calls), kLeastShare), 1.0 - kLeastShare), mean = seen[half] * share;
      const LanePair independent = mean * (1.0 - share), beyond = (Min(mean * mean / independent, 1e6) - 1.0) / (seen[half] - 1.0);
      const LanePair weight = Max(AllPair(1.0 - discount_), 1.0 / (age + kDispersionWeight));
      const LanePair learned = correlation + weight * (Min(Max(beyond, -1.0), 1.0) - correlation);
      correlation = warm & (seen[half] > 1.0) ? Min(Max(learned, 0.0), kMostCorrelation) : correlation;
      failures *= discount_;
      calls = discount_ * calls + seen[half];
      age += 1.0;
      high -= high * high_forgets_;
    }
    return true;
  }

  // kFailures and kCalls are what was seen, without the prior; kCorrelation is tracked; kHigh the largest share seen.
  enum Field { kAge, kFailures, kCalls, kCorrelation, kHigh, kHold, kExtreme, kFields };

  static Seen SeenIn(const Values& x, const SeriesMask& mask, int64_t i) {
    const double failures = x(0, i), calls = std::max(x(1, i), failures);
    const bool counted = mask(i) && std::isfinite(failures) && std::isfinite(x(1, i)) && failures >= 0.0 && x(1, i) >= 0.0 && calls > 0.0;
    if (!counted) return {false, 0.0, 1.0};
    return {true, std::min(failures, kMostCalls), std::min(calls, kMostCalls)};
  }
  Belief BeliefOf(int64_t i, double calls) const {
    const double known = calls_ + table_.at(kCalls, i);
    Belief b;
    b.share = std::clamp((failures_ + table_.at(kFailures, i)) / known, kLeastShare, 1.0 - kLeastShare);
    b.correlation = std::clamp(table_.at(kCorrelation, i), 1.0 / (known + 1.0), kMostCorrelation);
    b.size = calls / (1.0 + std::max(calls - 1.0, 0.0) * b.correlation);
    return b;
  }
  static double Angle(double share) { return std::asin(std::sqrt(std::clamp(share, 0.0, 1.0))); }
  // Up to 1.5 times the largest share seen, while young.
  bool Inside(int64_t i, double share) const {
    return table_.at(kAge, i) < cold_ticks_ && table_.at(kHigh, i) > 0.0 && share <= 1.5 * table_.at(kHigh, i);
  }
  double Z(int64_t i, const Seen& seen, const Belief& b) const {
    if (seen.failures == 0.0) return 0.0;
    const double share = seen.failures / seen.calls, unit = 2.0 * std::sqrt(b.size);
    double z = unit * (Angle(share) - Angle(b.share));
    const double age = table_.at(kAge, i), high = table_.at(kHigh, i);
    if (age < cold_ticks_ && high > 0.0) {
      z = std::min(z, std::max(0.0, unit * (Angle(share) - Angle(1.5 * high))) + kInside * cold_ticks_ / (cold_ticks_ - age));
    }
    return std::clamp(z, -kMostZ, kMostZ);
  }
  static double Deviation(const Seen& seen, const Belief& b) {
    return seen.calls * std::sqrt(b.share * (1.0 - b.share) / std::max(b.size, 1e-12));
  }

  void Tell(int64_t i, const Seen& seen, const Belief& b, double z, Assessment* out) const {
    out->ready(i) = table_.at(kAge, i) >= warm_ticks_;
    const bool judged = seen.counted && out->ready(i);
    out->z(i) = judged ? z : 0.0;
    if (!out->Wants(out->z(i))) return;
    const double mean = seen.calls * b.share;
    out->Expect(i, mean, 0.0, std::max(mean, std::min(mean + kInside * Deviation(seen, b), seen.calls)));
    out->tail_probability(i) = 1.0;  // of no failure, too
    if (!judged || seen.failures <= 0.0) return;
    double p = UpperTail(std::max(std::floor(seen.failures), 1.0), std::max(std::floor(seen.calls), 1.0), b.share, b.correlation);
    if (Inside(i, seen.failures / seen.calls)) p = std::max(p, 0.01);  // as z says
    out->tail_probability(i) = std::clamp(p, kLeastProbability, 1.0);
  }

  void Learn(int64_t i, const Seen& seen, const Belief& b, double z) {
    double& age = table_.at(kAge, i);
    double& high = table_.at(kHigh, i);
    double& hold = table_.at(kHold, i);
    double& extreme = table_.at(kExtreme, i);
    const bool warm = age >= warm_ticks_, excursion = warm && z > kExcursion;
    const double share = seen.failures / seen.calls, mean = seen.calls * b.share;
    // Winsorised once warm: one outage must not become the expected share.
    const double bound = mean + 4.0 * Deviation(seen, b) + 1.0;
    const double learned = warm ? std::min(seen.failures, std::max(bound, std::min(high * seen.calls, 1.5 * bound))) : seen.failures;
    table_.at(kFailures, i) = discount_ * table_.at(kFailures, i) + learned;
    table_.at(kCalls, i) = discount_ * table_.at(kCalls, i) + seen.calls;
    if (warm && !excursion && seen.calls > 1.0) {
      const double independent = mean * (1.0 - b.share), error = learned - mean;
      const double beyond = (std::min(error * error / independent, 1e6) - 1.0) / (seen.calls - 1.0);
      double& correlation = table_.at(kCorrelation, i);
      correlation += std::max(1.0 - discount_, 1.0 / (age + kDispersionWeight)) * (std::clamp(beyond, -1.0, 1.0) - correlation);
      correlation = std::clamp(correlation, 0.0, kMostCorrelation);
    }
    age += 1.0;
    if (excursion) {
      extreme = hold == 0.0 ? share : std::max(extreme, share);
      hold += 1.0;
      if (hold >= relearn_ticks_) {
        table_.at(kFailures, i) = share * (calls_ + kRelearnTicks * seen.calls);
        table_.at(kCalls, i) = kRelearnTicks * seen.calls;
        high = share;
        hold = 0.0;
      }
      return;
    }
    if (hold > 0.0 && hold * tick_ < kForgiveSeconds) high = std::max(high, extreme);
    hold = 0.0;
    high -= high * high_forgets_;
    high = std::max(high, share);
  }

  double failures_, calls_;  // of the prior
  double tick_, discount_, warm_ticks_, cold_ticks_, relearn_ticks_, high_forgets_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<BetaBinomial>(options); }

}  // namespace outlier::models::beta_binomial
