#include "models/silence.h"

#include <algorithm>
#include <cmath>

#include "models/series_model.h"
#include "models/series_table.h"
#include "models/table_model.h"
#include "models/tail.h"

namespace outlier::models::silence {
namespace {

constexpr double kQuietShare = 0.1;       // of the typical rate: a timer may go on in a service that stopped
constexpr double kPatience = 3.0;         // longest seen spells that pass without a word
constexpr double kAlarming = 6.0;         // |z| from which a spell was a fault, and widens the range only by half
constexpr double kSettleSpells = 3.0;     // spells that make a mostly quiet series regular
constexpr double kSteadySpread = 0.3;     // standard deviation of active ticks over their mean: quiet is three of them away
constexpr double kLeastActive = 10.0;     // active ticks
constexpr double kMostCorrelation = 0.999;
constexpr double kMostValue = 1e100;

class Silence final : public SeriesModel<Silence, TableModel<SeriesTable>> {
 public:
  explicit Silence(const Options& options)
      : SeriesModel(SeriesTable("silence", 2, kFields)),
        floor_(options.prior.scale_floor), tick_(options.tick_seconds),
        alpha_(-std::expm1(-M_LN2 * options.tick_seconds / options.half_life_seconds)),
        warm_ticks_(std::max(2.0, std::ceil(options.warm_up_seconds / options.tick_seconds))),
        relearn_ticks_(options.relearn_seconds / options.tick_seconds) {}

  // Also what version 1 saved, which did not know how long a deviation lasts.
  bool Load(std::string_view bytes) override {
    if (TableModel::Load(bytes)) return true;
    SeriesTable old("silence", 1, kOldFields);
    if (!old.Load(&bytes) || !bytes.empty()) return false;
    SeriesTable loaded("silence", 2, kFields);
    loaded.Resize(old.series());
    for (int64_t i = 0; i < old.series(); ++i) {
      for (int field = 0; field < kOldFields; ++field) loaded.at(field, i) = old.at(field, i);
    }
    table_ = std::move(loaded);
    return true;
  }

 private:
  friend SeriesModel;
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    out->ready(i) = Ready(i);
    const bool quiet = mask(i) && std::isfinite(x(0, i)) && out->ready(i) && Quiet(i, x(0, i));
    const double seconds = quiet ? Beyond(i, table_.at(kSpell, i) + 1.0) * tick_ : 0.0;
    out->z(i) = seconds > 0.0 ? std::max(-seconds / Unit(i), -kMostZ) : 0.0;
    if (!out->Wants(out->z(i))) return;
    const double typical = table_.at(kTypical, i), spread = std::sqrt(table_.at(kVariance, i));
    out->Expect(i, typical, kQuietShare * typical, typical + 3.0 * spread);
    out->tail_probability(i) = 1.0;
    if (seconds <= 0.0) return;
    const double mean = std::max({table_.at(kMeanSpell, i) * tick_, 1.0, Wanders(i)});
    const double begins = (table_.at(kSpells, i) + 1.0) / (table_.at(kAge, i) + 2.0);
    out->tail_probability(i) = std::clamp(begins * std::exp(-seconds / mean), kLeastProbability, 1.0);
  }

  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    if (mask(i) && std::isfinite(x(0, i))) Learn(i, std::clamp(x(0, i), 0.0, kMostValue));
  }

  // Spells in ticks. kTypical, kVariance: of active ticks; kLast: deviation of the newest of them; kCross: of the products of two in succession.
  enum Field { kAge, kActive, kTypical, kVariance, kSpell, kLongest, kMeanSpell, kSpells, kOldFields, kCross = kOldFields, kLast, kFields };

  bool Quiet(int64_t i, double x) const { return x <= std::max(kQuietShare * table_.at(kTypical, i), 0.0); }
  double Beyond(int64_t i, double spell) const { return spell - kPatience * table_.at(kLongest, i); }
  double Unit(int64_t i) const { return std::max({table_.at(kLongest, i) * tick_, 1.0, Wanders(i)}); }
  // Seconds that a stream whose deviations have a memory stays as far from its mean as quiet is.
  double Wanders(int64_t i) const {
    const double variance = table_.at(kVariance, i);
    if (variance <= 0.0) return 0.0;
    const double correlation = std::clamp(table_.at(kCross, i) / variance, 0.0, kMostCorrelation);
    if (correlation <= 0.0) return 0.0;
    const double far = std::max((1.0 - kQuietShare) * table_.at(kTypical, i) / std::sqrt(variance), 1.0);
    return 2.0 / (far * far) * tick_ / -std::log(correlation);
  }
  bool Ready(int64_t i) const {
    const double age = table_.at(kAge, i), active = table_.at(kActive, i);
    if (age < warm_ticks_ || active < kLeastActive || table_.at(kTypical, i) < floor_) return false;
    const bool mostly = active >= 0.5 * (age - table_.at(kSpell, i));
    // A stream that hardly ever pauses has shown no pause to compare with, so its rate must be steady instead: people and
    // builds are busy without a pause for a minute, too, and then go home.
    const bool steady = std::sqrt(table_.at(kVariance, i)) <= kSteadySpread * table_.at(kTypical, i);
    return (mostly && steady) || table_.at(kSpells, i) >= kSettleSpells;
  }

  void Learn(int64_t i, double x) {
    double& age = table_.at(kAge, i);
    double& spell = table_.at(kSpell, i);
    const bool ready = Ready(i);
    age += 1;
    if (Quiet(i, x)) {
      spell += 1;
      if (spell >= relearn_ticks_) table_.Forget(i);
      return;
    }
    if (spell > 0 && table_.at(kActive, i) > 0) EndSpell(i, ready);
    spell = 0;
    double& active = table_.at(kActive, i);
    double& typical = table_.at(kTypical, i);
    double& variance = table_.at(kVariance, i);
    active += 1;
    const double b = std::max(alpha_, 1.0 / active);
    // Bursts are winsorised, so that one of them does not make every usual tick look quiet.
    const double most = active < kLeastActive ? kMostValue : 3.0 * std::max(typical, std::sqrt(variance));
    const double e = std::clamp(x - typical, -most, most);
    typical += b * e;
    variance += b * ((1.0 - b) * e * e - variance);
    table_.at(kCross, i) += b * ((1.0 - b) * e * table_.at(kLast, i) - table_.at(kCross, i));
    table_.at(kLast, i) = e;
    table_.at(kLongest, i) -= alpha_ * table_.at(kLongest, i);
  }

  void EndSpell(int64_t i, bool ready) {
    double& longest = table_.at(kLongest, i);
    double& mean = table_.at(kMeanSpell, i);
    double& spells = table_.at(kSpells, i);
    double spell = table_.at(kSpell, i);
    const bool fault = ready && Beyond(i, spell) * tick_ / Unit(i) >= kAlarming;
    if (fault) spell = std::min(spell, 1.5 * longest + std::ceil(1.0 / tick_));
    spells += 1;
    longest = std::max(longest, spell);
    mean += std::max(alpha_, 1.0 / spells) * (spell - mean);
  }

  double floor_, tick_, alpha_, warm_ticks_, relearn_ticks_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Silence>(options); }

}  // namespace outlier::models::silence
