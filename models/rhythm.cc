#include "models/rhythm.h"

#include <algorithm>
#include <cmath>

#include "models/series_model.h"
#include "models/series_table.h"
#include "models/special.h"
#include "models/table_model.h"
#include "models/tail.h"

namespace outlier::models::rhythm {
namespace {

constexpr double kSpreads = 6.0, kShare = 0.5;   // of a beat, above the level between beats
constexpr double kCalmTicks = 5.0;               // that end a beat
constexpr double kSettleTicks = 15.0;            // of which the level is the plain mean
constexpr double kSunkTicks = 30.0;              // far below the level: it began in the middle of a beat, or does less from now on
constexpr double kWinsor = 3.0;
constexpr double kFewBeats = 5.0, kMoreBeats = 8.0;
constexpr double kExact = 1.0 / 50.0, kRegular = 1.0 / 10.0;  // standard deviation over mean of intervals
constexpr double kLeastWeight = 1.0 / 8.0;       // of one interval
constexpr double kLittleSeconds = 120.0;         // of an interval that is not known yet
constexpr double kGivenUp = 4.0;                 // intervals without a beat
constexpr double kMostLate = 3.0;                // standard deviations that one interval teaches
constexpr double kMostValue = 1e100;

class Rhythm final : public SeriesModel<Rhythm, TableModel<SeriesTable>> {
 public:
  explicit Rhythm(const Options& options)
      : SeriesModel(SeriesTable("rhythm", 1, kFields)),
        floor_(options.prior.scale_floor), warm_ticks_(options.warm_up_seconds / options.tick_seconds),
        alpha_(-std::expm1(-M_LN2 * options.tick_seconds / options.half_life_seconds)), little_ticks_(kLittleSeconds / options.tick_seconds) {}
  // A little of an interval is time that passed. After more, when the last beat began is not known any more: one may have come. The next one is due within an
  // interval all the same.
  void Skip(int64_t ticks) override {
    for (int64_t i = 0; i < series(); ++i) {
      double& since = table_.at(kSince, i);
      if (since == 0.0) continue;
      const double mean = table_.at(kMean, i);
      const bool little = std::abs(static_cast<double>(ticks)) <= (mean > 0.0 ? kExact * mean : little_ticks_);
      since = little ? std::copysign(std::max(std::abs(since) + static_cast<double>(ticks), 1.0), since) : -1.0;
    }
  }

 private:
  friend SeriesModel;
  // kBelow: ticks in a row that were far below the level, which then is that of a beat. kBusy: 0 between beats, else 1 and the calm ticks seen since. kSince: ticks since the last beat began, 0 = there was none; negative: since nobody watched.
  enum Field { kAge, kLevel, kSpread, kBusy, kSince, kMean, kVariance, kIntervals, kBelow, kFields };

  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    out->ready(i) = table_.at(kAge, i) >= warm_ticks_;
    const bool judged = out->ready(i) && Regular(i) && mask(i) && std::isfinite(x(0, i));
    const bool beats = judged && table_.at(kBusy, i) == 0.0 && x(0, i) > Threshold(i);
    const double late = judged && !beats ? (std::abs(table_.at(kSince, i)) + 1.0 - table_.at(kMean, i)) / Uncertainty(i) : 0.0;
    out->z(i) = -std::clamp(late, 0.0, kMostZ);
    if (!out->Wants(out->z(i))) return;
    // A beat was expected: as much as makes one.
    const double expected = judged ? Threshold(i) : table_.at(kLevel, i);
    out->Expect(i, expected, std::min(table_.at(kLevel, i), expected), kMostValue);
    out->tail_probability(i) = late > 0.0 ? std::clamp(0.5 * NormalTwoSidedTail(std::min(late, kMostZ)), kLeastProbability, 1.0) : 1.0;
  }

  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    double& since = table_.at(kSince, i);
    if (since != 0.0) since += std::copysign(1.0, since);
    if (std::abs(since) > kGivenUp * table_.at(kMean, i) && table_.at(kIntervals, i) > 0.0) GiveUp(i);
    double& busy = table_.at(kBusy, i);
    const bool present = mask(i) && std::isfinite(x(0, i));
    const double value = present ? std::clamp(x(0, i), 0.0, kMostValue) : 0.0;
    double& age = table_.at(kAge, i);
    const double threshold = Threshold(i);
    if (busy > 0.0) {
      busy = value > table_.at(kLevel, i) + 0.5 * (threshold - table_.at(kLevel, i)) ? 1.0 : busy + 1.0;
      if (busy > kCalmTicks) busy = 0.0;
      age += present;
      return;
    }
    if (present && age >= kSettleTicks && value > threshold) {
      Beat(i);
      busy = 1.0;
    } else if (present) {
      LearnLevel(i, value, age);
    }
    age += present;
  }

  double Threshold(int64_t i) const {
    const double level = table_.at(kLevel, i);
    return std::min(level + std::max({kSpreads * table_.at(kSpread, i), kShare * level, floor_}), kMostValue);
  }
  bool Regular(int64_t i) const {
    const double intervals = table_.at(kIntervals, i), mean = table_.at(kMean, i), deviation = std::sqrt(table_.at(kVariance, i));
    return (intervals >= kFewBeats && deviation <= kExact * mean) || (intervals >= kMoreBeats && deviation <= kRegular * mean);
  }
  double Uncertainty(int64_t i) const {
    return std::sqrt(table_.at(kVariance, i)) * (1.0 + 3.0 / std::max(table_.at(kIntervals, i), 1.0)) + kExact * table_.at(kMean, i) + 1.0;
  }
  void LearnLevel(int64_t i, double value, double age) {
    double& level = table_.at(kLevel, i);
    double& spread = table_.at(kSpread, i);
    double& below = table_.at(kBelow, i);
    below = age >= kSettleTicks && level - value > std::max({kSpreads * spread, kShare * value, floor_}) ? below + 1.0 : 0.0;
    if (below >= kSunkTicks || age == 0.0) {
      level = value;
      spread = below = 0.0;
      return;
    }
    const double weight = std::max(alpha_, 1.0 / (age + 1.0)), most = age < kSettleTicks ? kMostValue : kWinsor * std::max(spread, 0.25 * floor_);
    const double error = std::clamp(value - level, -most, most);
    level += weight * error;
    // Mean absolute deviation, as a standard deviation of a normal law.
    spread += weight * (std::min(std::abs(error) * 1.2533141373155003, kMostValue) - spread);
  }
  void Beat(int64_t i) {
    double& since = table_.at(kSince, i);
    const double interval = since;
    since = 1.0;
    if (interval <= 0.0) return;
    double& mean = table_.at(kMean, i);
    double& variance = table_.at(kVariance, i);
    double& intervals = table_.at(kIntervals, i);
    double learned = interval;
    if (Regular(i)) {
      const double missed = std::round(interval / mean), most = kMostLate * Uncertainty(i);
      if (missed >= 2.0 && std::abs(interval / missed - mean) <= most) learned = interval / missed;
      learned = std::clamp(learned, mean - most, mean + most);
    }
    intervals += 1.0;
    const double weight = std::max(kLeastWeight, 1.0 / intervals), error = learned - mean;
    mean += weight * error;
    variance += weight * ((1.0 - weight) * error * error - variance);
  }
  void GiveUp(int64_t i) {
    for (const Field field : {kSince, kMean, kVariance, kIntervals}) table_.at(field, i) = 0.0;
  }

  double floor_, warm_ticks_, alpha_, little_ticks_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Rhythm>(options); }

}  // namespace outlier::models::rhythm
