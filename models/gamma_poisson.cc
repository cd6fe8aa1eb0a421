#include "models/gamma_poisson.h"

#include <algorithm>
#include <cmath>

#include "models/series_model.h"
#include "models/special.h"
#include "models/table_model.h"
#include "models/tail.h"
#include "models/wide_table.h"

namespace outlier::models::gamma_poisson {
namespace {

constexpr double kMostCount = 1e12;      // a second brings no more
constexpr double kInside = 2.5758293035489004;  // |z| of a 1-in-100 value
constexpr double kExcursion = 4.0;       // z from which a count is under suspicion
constexpr double kForgiveSeconds = 10.0; // an excursion shorter than this that ended was life
constexpr double kDispersionWeight = 30.0;  // ticks that phi = 1 is worth at the start
constexpr double kNothing = 1e-100;      // what fades ends here: arithmetic on denormal numbers is slow
constexpr double kMostDispersed = 1e6;   // of one count
constexpr double kRelearnWeight = 60.0;  // seconds of belief in a rate that was accepted after a long hold

class GammaPoisson final : public SeriesModel<GammaPoisson, TableModel<WideTable>> {
 public:
  explicit GammaPoisson(const Options& options)
      : SeriesModel(WideTable("gamma_poisson", 1, kFields)),
        prior_(options.prior), tick_(options.tick_seconds), discount_(std::exp2(-options.tick_seconds / options.half_life_seconds)),
        warm_ticks_(options.warm_up_seconds / options.tick_seconds), cold_ticks_(options.cold_seconds / options.tick_seconds),
        relearn_ticks_(options.relearn_seconds / options.tick_seconds),
        high_forgets_(cold_ticks_ > 0 ? std::min(1.0, 2.0 * M_LN2 / (cold_ticks_ + 1.0)) : 0.0) {}

 private:
  friend SeriesModel;
  struct Belief {
    double mean, phi, size, deviation;
  };
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const Belief b = BeliefOf(i);
    const bool counted = Counted(x(0, i), mask(i));
    Tell(i, b, counted, counted ? Z(i, Count(x, i), b) : 0.0, x, out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    if (!Counted(x(0, i), mask(i))) return;
    const Belief b = BeliefOf(i);
    Learn(i, Count(x, i), b, Z(i, Count(x, i), b));
  }
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    const bool counted = Counted(x(0, i), mask(i));
    if (!counted && out->notable > 0.0) {
      out->ready(i) = Ready(i);
      out->z(i) = 0.0;
      return;
    }
    const Belief b = BeliefOf(i);
    const double z = counted ? Z(i, Count(x, i), b) : 0.0;
    Tell(i, b, counted, z, x, out);
    if (counted) Learn(i, Count(x, i), b, z);
  }

  // Most ticks bring no event to any of four.
  OUTLIER_INLINE bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out) {
    LanePair* block = table_.block(first);
    if (AllAbsent(mask, first) && out->notable > 0.0) {
      for (int half = 0; half < 2; ++half) SeriesModel::Tell(first + 2 * half, LanePair{}, block[2 * kAge + half] >= warm_ticks_, out);
      return true;
    }
    const int64_t stride = x.outerStride();
    const double* value = x.data() + first * stride;
    if (!AllPresent(mask, first) || !(value[0] == 0.0 && value[stride] == 0.0 && value[2 * stride] == 0.0 && value[3 * stride] == 0.0)) return false;
    LanePair mean[2], z[2];
    PairMask warm[2], odd{};
    for (int half = 0; half < 2; ++half) {
      const LanePair events = block[2 * kEvents + half], seconds = block[2 * kSeconds + half];
      mean[half] = (prior_.rate * prior_.weight + events) * tick_ / (prior_.weight + seconds);
      warm[half] = block[2 * kAge + half] >= warm_ticks_;
      z[half] = Where(warm[half], Max(-2.0 * Sqrt(mean[half]) / Sqrt(1.0 + block[2 * kDispersion + half]), -kMostZ));
      odd |= (block[2 * kHold + half] != 0.0) | (Abs(z[half]) >= kSurelyLess * out->notable);
    }
    if (Any(odd)) return false;
    for (int half = 0; half < 2; ++half) {
      LanePair &age = block[2 * kAge + half], &events = block[2 * kEvents + half], &seconds = block[2 * kSeconds + half];
      LanePair &phi = block[2 * kDispersion + half], &high = block[2 * kHigh + half];
      SeriesModel::Tell(first + 2 * half, z[half], warm[half], out);
      events *= discount_;
      seconds = discount_ * seconds + tick_;
      const LanePair weight = Max(AllPair(1.0 - discount_), 1.0 / (age + kDispersionWeight));
      const LanePair learned = Max(phi + weight * (Min(mean[half], kMostDispersed) - 1.0 - phi), 0.0);
      phi = warm[half] ? learned : phi;
      age += 1.0;
      const LanePair kept = high - high * high_forgets_;
      high = Where(kept > kNothing, kept);
    }
    return true;
  }

  // kEvents and kSeconds are what was seen, without the prior; kDispersion is phi - 1; kHigh the seen maximum.
  enum Field { kAge, kEvents, kSeconds, kDispersion, kHigh, kHold, kExtreme, kFields };
  static double Count(const Values& x, int64_t i) { return std::min(x(0, i), kMostCount); }
  void Tell(int64_t i, const Belief& b, bool counted, double z, const Values& x, Assessment* out) const {
    out->ready(i) = Ready(i);
    const bool judged = counted && out->ready(i);
    out->z(i) = judged ? z : 0.0;
    if (!out->Wants(out->z(i))) return;
    if (out->wants_expected()) {
      const double most = b.mean + kInside * b.deviation;
      out->Expect(i, b.mean, 0.0, table_.at(kAge, i) < cold_ticks_ ? std::max(most, table_.at(kHigh, i)) : most);
    }
    out->tail_probability(i) = 1.0;  // of no event, too
    if (!judged || x(0, i) == 0.0) return;
    double p = NegativeBinomialTail(Count(x, i), b.mean, b.size);
    // Inside the seen range p is that of a 1-in-100 value at least: z says so.
    if (Inside(i, Count(x, i))) p = std::max(p, 0.01);
    out->tail_probability(i) = std::clamp(p, kLeastProbability, 1.0);
  }
  static bool Counted(double x, bool present) { return present && std::isfinite(x) && x >= 0.0; }

  bool Ready(int64_t i) const { return table_.at(kAge, i) >= warm_ticks_; }
  double MeanOf(int64_t i) const { return (prior_.rate * prior_.weight + table_.at(kEvents, i)) * tick_ / (prior_.weight + table_.at(kSeconds, i)); }
  Belief BeliefOf(int64_t i) const {
    const double b = prior_.weight + table_.at(kSeconds, i);
    Belief out;
    out.mean = MeanOf(i);
    out.phi = 1.0 + table_.at(kDispersion, i);
    const double extra = out.phi - 1.0 + tick_ / b;  // variance = mean (1 + extra); mean / a = tick / b
    out.size = out.mean / extra;
    out.deviation = std::sqrt(out.mean * (1.0 + extra));
    return out;
  }
  // Up to 1.5 x the seen maximum, while young. A maximum of 0 or 1 bounds nothing: the prior does.
  bool Inside(int64_t i, double count) const {
    return table_.at(kAge, i) < cold_ticks_ && table_.at(kHigh, i) > 1.0 && count <= 1.5 * table_.at(kHigh, i);
  }
  double Z(int64_t i, double count, const Belief& b) const {
    double z = 2.0 * (std::sqrt(count) - std::sqrt(b.mean)) / std::sqrt(b.phi);
    const double age = table_.at(kAge, i), high = table_.at(kHigh, i);
    if (age < cold_ticks_ && high > 1.0) {
      const double beyond = std::max(0.0, 2.0 * (std::sqrt(count) - std::sqrt(1.5 * high)));
      z = std::min(z, beyond + kInside * cold_ticks_ / (cold_ticks_ - age));
    }
    return std::clamp(z, -kMostZ, kMostZ);
  }

  void Learn(int64_t i, double count, const Belief& b, double z) {
    double& age = table_.at(kAge, i);
    double& high = table_.at(kHigh, i);
    double& hold = table_.at(kHold, i);
    double& extreme = table_.at(kExtreme, i);
    const bool warm = age >= warm_ticks_;
    const bool excursion = warm && z > kExcursion;
    // Winsorised once warm: one fault must not become the expected rate.
    const double bound = b.mean + 4.0 * b.deviation + 1.0;
    const double learned = warm ? std::min(count, std::max(bound, std::min(high, 1.5 * bound))) : count;
    table_.at(kEvents, i) = discount_ * table_.at(kEvents, i) + learned;
    table_.at(kSeconds, i) = discount_ * table_.at(kSeconds, i) + tick_;
    const double error = learned - b.mean;
    const double seen = learned == 0.0 ? b.mean : b.mean > 0.0 ? error * error / b.mean : 0.0;
    // Not by the first counts: against a prior that they refute, all of them look dispersed, and a busy stream would be deaf for hours.
    if (!excursion && warm) LearnDispersion(i, std::min(seen, kMostDispersed));
    age += 1;
    if (excursion) {
      extreme = hold == 0 ? count : std::max(extreme, count);
      hold += 1;
      if (hold >= relearn_ticks_) {
        const double weight = prior_.weight + kRelearnWeight;
        table_.at(kEvents, i) = count / tick_ * weight;
        table_.at(kSeconds, i) = kRelearnWeight;
        high = count;
        hold = 0;
      }
      return;
    }
    LearnHigh(i, count);
  }
  void LearnDispersion(int64_t i, double seen) {
    double& dispersion = table_.at(kDispersion, i);
    dispersion = std::max(0.0, dispersion + std::max(1.0 - discount_, 1.0 / (table_.at(kAge, i) + kDispersionWeight)) * (seen - 1.0 - dispersion));
  }
  // By a count that is no excursion, and ends one.
  void LearnHigh(int64_t i, double count) {
    double& high = table_.at(kHigh, i);
    double& hold = table_.at(kHold, i);
    if (hold > 0 && hold * tick_ < kForgiveSeconds) high = std::max(high, table_.at(kExtreme, i));
    hold = 0;
    const double kept = high - high * high_forgets_;
    high = std::max(kept > kNothing ? kept : 0.0, count);
  }

  Prior prior_;
  double tick_, discount_, warm_ticks_, cold_ticks_, relearn_ticks_, high_forgets_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<GammaPoisson>(options); }

}  // namespace outlier::models::gamma_poisson
