#include "models/held_level.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/record_table.h"
#include "models/special.h"
#include "models/table_model.h"
#include "models/winsor.h"

namespace outlier::models::held_level {
namespace {

constexpr int kClocks = 2, kMinute = 0, kMostHeld = 6, kHours = 24;
constexpr std::array<double, kClocks> kBinSeconds = {60.0, 600.0};
constexpr std::array<int, kClocks> kHeld = {5, 6};     // bins
constexpr double kDay = 86400.0;
constexpr double kShortMemory = 1.0 / 24.0;
constexpr double kWinsor = 1.5, kConsistency = 0.7784;    // E min(z^2, 1.5^2) of a normal z
constexpr uint32_t kLeastBins = 8;
constexpr double kYouth = 4.0;                            // scale times 1 + kYouth / bins
constexpr double kProfileHalfLife = 7 * kDay, kProfileGate = 0.9, kMostProfile = 1e37;
constexpr double kCentralZ = 2.5758293035489004;

struct Clock {
  double sum;                  // of the parts of the open bin: ticks, or means of the faster clock's bins
  double level, near_level;    // less the profile
  double variance, near_variance;
  float z[kMostHeld];          // of the last bins, newest first
  uint32_t parts, bins;        // in the open bin; closed ones
};
// The first members are all that a tick touches between two bins.
struct Record {
  double expected, width, probability;
  float held;
  uint32_t age, seen;          // ticks since first seen; observed ones
  uint32_t unused;
  Clock clocks[kClocks];
  double plain_level, plain_variance, seasonal_variance;  // of the minute's residual without and with the profile
  float profile[kHours];
};
static_assert(sizeof(Record) == 3 * 8 + 4 * 4 + kClocks * (5 * 8 + kMostHeld * 4 + 8) + 3 * 8 + kHours * 4, "no padding: the bytes are saved");

bool IsFinite(const Record& r) {
  bool finite = std::isfinite(r.held);
  for (const double v : {r.expected, r.width, r.probability, r.plain_level, r.plain_variance, r.seasonal_variance}) finite &= std::isfinite(v);
  for (const float v : r.profile) finite &= std::isfinite(v);
  for (const Clock& c : r.clocks) {
    for (const double v : {c.sum, c.level, c.near_level, c.variance, c.near_variance}) finite &= std::isfinite(v);
    for (const float v : c.z) finite &= std::isfinite(v);
  }
  return finite;
}

class HeldLevel final : public TableModel<RecordTable<Record>> {
 public:
  explicit HeldLevel(const Options& options)
      : TableModel(RecordTable<Record>("held_level", 1)),
        prior_(options.prior),
        warm_up_(std::ceil(options.warm_up_seconds / options.tick_seconds)),
        hours_a_tick_(options.tick_seconds / kDay * kHours) {
    double bin_seconds = options.tick_seconds;
    for (int k = 0; k < kClocks; ++k) {
      parts_[k] = static_cast<uint32_t>(std::max(1.0, std::round(kBinSeconds[k] / bin_seconds)));
      bin_seconds *= parts_[k];
      gain_[k] = -std::expm1(-M_LN2 * bin_seconds / options.half_life_seconds);
      near_gain_[k] = -std::expm1(-M_LN2 * bin_seconds / (kShortMemory * options.half_life_seconds));
      if (k != kMinute) continue;
      day_bins_ = kDay / bin_seconds;
      profile_gain_ = -std::expm1(-M_LN2 * kHours * bin_seconds / kProfileHalfLife);
    }
  }

  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const override {
    for (int64_t i = 0; i < series(); ++i) {
      const Record& r = *table_.at(i);
      out->ready(i) = r.seen >= warm_up_ && r.probability > 0.0;
      const bool judged = out->ready(i) && mask(i) && std::isfinite(x(0, i));
      out->z(i) = judged ? r.held : 0.0;
      out->tail_probability(i) = judged ? r.probability : 1.0;
      out->expected(i) = r.expected;
      out->lower(i) = r.expected - r.width;
      out->upper(i) = r.expected + r.width;
      out->rate(i) = 0.0;
    }
  }

  void Update(const Values& x, const SeriesMask& mask) override {
    for (int64_t i = 0; i < series(); ++i) {
      Record& r = *table_.at(i);
      if (mask(i) && std::isfinite(x(0, i))) {
        ++r.seen;
        Take(Clamped(x(0, i)), &r);
      }
      if (r.seen > 0) ++r.age;
    }
  }

 private:
  // The profile at this moment: between the hours' middles, by their weights.
  struct Season {
    int before, after;
    double weight;      // of `after`
    double value, used; // 0 where the profile is not used
  };
  Season At(const Record& r) const {
    const double hours = r.age * hours_a_tick_ - 0.5 + kHours;
    const double whole = std::floor(hours);
    Season s;
    s.before = static_cast<int>(std::fmod(whole, kHours));
    s.after = (s.before + 1) % kHours;
    s.weight = hours - whole;
    s.value = (1.0 - s.weight) * r.profile[s.before] + s.weight * r.profile[s.after];
    const bool used = r.age * hours_a_tick_ > kHours && r.seasonal_variance < kProfileGate * r.plain_variance;
    s.used = used ? s.value : 0.0;
    return s;
  }

  double Scale(double variance, const Clock& c) const {
    const double floor = std::max(prior_.scale_floor, prior_.relative_floor * std::abs(c.level));
    return std::max(std::sqrt(variance), floor) * (1.0 + kYouth / std::max(c.bins, 1u));
  }

  // A part of each clock's open bin; the mean of a closed bin is a part of the next slower clock's.
  void Take(double part, Record* r) const {
    for (int k = 0; k < kClocks; ++k) {
      Clock& c = r->clocks[k];
      c.sum += part;
      if (++c.parts < parts_[k]) {
        if (k > 0) Judge(r);
        return;
      }
      part = c.sum / c.parts;
      c.sum = 0.0;
      c.parts = 0;
      Close(part, k, r);
    }
    Judge(r);
  }

  // What is said until the next bin closes.
  void Judge(Record* r) const {
    double most = 0.0;
    for (int k = 0; k < kClocks; ++k) {
      const Clock& c = r->clocks[k];
      if (c.bins < kLeastBins) continue;
      double least = std::abs(c.z[0]);
      for (int n = 1; n < kHeld[k]; ++n) least = c.z[n] * c.z[0] > 0.0f ? std::min<double>(least, std::abs(c.z[n])) : 0.0;
      if (least > std::abs(most)) most = std::copysign(least, c.z[0]);
    }
    const Clock& shown = r->clocks[kMinute];
    r->expected = shown.level + At(*r).used;
    r->width = kCentralZ * Scale(shown.variance, shown);
    r->held = static_cast<float>(most);
    if (shown.bins >= kLeastBins) r->probability = std::max(NormalTwoSidedTail(std::abs(most)), kLeastProbability);
  }

  // Level and variance by the same weight; what enters is at most kWinsor scales.
  static void Learn(double value, double scale, double gain, double* level, double* variance) {
    const double e = std::clamp(value - *level, -kWinsor * scale, kWinsor * scale);
    *level += gain * e;
    *variance += gain * ((1.0 - gain) * e * e / kConsistency - *variance);
  }

  void Close(double mean, int k, Record* r) const {
    Clock& c = r->clocks[k];
    const Season season = At(*r);
    const double value = mean - season.used;
    if (c.bins == 0) {
      c.level = c.near_level = value;
      if (k == kMinute) r->plain_level = mean;
      c.bins = 1;
      return;
    }
    const double scale = Scale(c.variance, c), near_scale = Scale(c.near_variance, c);
    const double z = ClippedZ(value - c.level, scale), near_z = ClippedZ(value - c.near_level, near_scale);
    std::copy_backward(c.z, c.z + kMostHeld - 1, c.z + kMostHeld);
    c.z[0] = static_cast<float>(z * near_z > 0.0 ? std::copysign(std::min(std::abs(z), std::abs(near_z)), z) : 0.0);
    const double fresh = 1.0 / (c.bins + 1.0);
    if (k == kMinute) LearnProfile(mean, season, std::max(gain_[k], fresh), r);
    Learn(value, scale, std::max(gain_[k], fresh), &c.level, &c.variance);
    Learn(value, near_scale, std::max(near_gain_[k], fresh), &c.near_level, &c.near_variance);
    ++c.bins;
  }

  // Each of the two hours takes its share of the error (least mean squares; Widrow & Hoff 1960).
  void LearnProfile(double mean, const Season& season, double gain, Record* r) const {
    const Clock& minute = r->clocks[kMinute];
    const double scale = Scale(r->plain_variance, minute), plain = std::clamp(mean - r->plain_level, -kWinsor * scale, kWinsor * scale);
    const double error = plain - season.value;
    // Visits of an hour so far, in bins: a first day fills it, later ones refine it.
    const double days = r->age * hours_a_tick_ / kHours;
    const double weight = std::max(profile_gain_, kHours / ((1.0 + days) * day_bins_));
    for (const auto& [hour, share] : {std::pair{season.before, 1.0 - season.weight}, std::pair{season.after, season.weight}}) {
      const double moved = r->profile[hour] + 2.0 * weight * share * error;
      r->profile[hour] = static_cast<float>(std::clamp(moved, -kMostProfile, kMostProfile));
    }
    r->seasonal_variance += gain * (error * error / kConsistency - r->seasonal_variance);
    r->plain_variance += gain * (plain * plain / kConsistency - r->plain_variance);
    r->plain_level += gain * plain;
  }

  Prior prior_;
  double warm_up_, hours_a_tick_, day_bins_ = 0.0, profile_gain_ = 0.0;
  std::array<uint32_t, kClocks> parts_{};          // in a bin
  std::array<double, kClocks> gain_{}, near_gain_{};
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<HeldLevel>(options); }

}  // namespace outlier::models::held_level
