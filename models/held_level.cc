#include "models/held_level.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/lanes.h"
#include "models/series_model.h"
#include "models/special.h"
#include "models/tail.h"
#include "models/two_part_model.h"

namespace outlier::models::held_level {
namespace {

constexpr int kClocks = 2, kMinute = 0, kSlow = 1, kMostHeld = 6, kHours = 24, kHalfDays = 14;
constexpr std::array<double, kClocks> kBinSeconds = {60.0, 600.0};
constexpr std::array<int, kClocks> kHeld = {5, 6};     // bins
constexpr double kDay = 86400.0;
constexpr uint32_t kMostParts = 65535;
constexpr double kShortMemory = 1.0 / 24.0;
constexpr double kWinsor = 1.5, kConsistency = 0.7784;    // E min(z^2, 1.5^2) of a normal z
constexpr uint32_t kLeastBins = 8;
constexpr double kYouth = 4.0;                            // scale times 1 + kYouth / bins
constexpr double kProfileHalfLife = 7 * kDay, kProfileGate = 0.9, kMostProfile = 1e37;
constexpr double kWeekHalfLife = 28 * kDay, kWeekDays = 7, kWeeksOfSupport = 2;
constexpr double kCentralZ = 2.5758293035489004;

// All that a tick touches between two bins.
struct Open {
  double sum;                  // of the values of the minute under way
  float held;                  // the standing z
  uint32_t age, seen;          // ticks since first seen; observed ones
  uint16_t values, stands;     // in the minute under way; 1: there is a standing z
};
struct OpenBlock {
  WideLanes sum;
  Lanes held;
  LaneCounts age, seen, state;   // state: values, and `stands` above kMostParts

  Open Get(int lane) const {
    return {sum.at(lane), held[lane], age[lane], seen[lane], static_cast<uint16_t>(state[lane]), static_cast<uint16_t>(state[lane] >> 16)};
  }
  void Put(int lane, const Open& o) {
    sum.Set(lane, o.sum);
    held[lane] = o.held;
    age[lane] = o.age;
    seen[lane] = o.seen;
    state[lane] = o.values | static_cast<uint32_t>(o.stands) << 16;
  }
};
struct Clock {
  double level, near_level;    // less the profile
  double variance, near_variance;
  float z[kMostHeld];          // of the last bins, newest first
  uint32_t bins, unused;       // closed ones
};
// Without the week: what version 1 of the past was.
struct Days {
  Clock clocks[kClocks];
  double slow_sum;             // of the means of minutes, in the slow clock's bin under way
  uint32_t slow_parts, unused;
  double plain_level, plain_variance, seasonal_variance;  // of the minute's residual without and with the profile
  float profile[kHours];
};
struct Past : Days {
  double weekly_variance;      // of the minute's residual with the profile of the day and what the week adds to it
  float week[kHalfDays];
};
static_assert(sizeof(Open) == 24 && sizeof(Clock) == 4 * 8 + kMostHeld * 4 + 8, "no padding: the bytes are saved");
static_assert(sizeof(Days) == kClocks * sizeof(Clock) + 2 * 8 + 3 * 8 + kHours * 4 && sizeof(Past) == sizeof(Days) + 8 + kHalfDays * 4, "no padding: the bytes are saved");

bool IsFinite(const Open& o) { return std::isfinite(o.sum) && std::isfinite(o.held); }
bool IsFinite(const Days& p) {
  bool finite = true;
  for (const double v : {p.slow_sum, p.plain_level, p.plain_variance, p.seasonal_variance}) finite &= std::isfinite(v);
  for (const float v : p.profile) finite &= std::isfinite(v);
  for (const Clock& c : p.clocks) {
    for (const double v : {c.level, c.near_level, c.variance, c.near_variance}) finite &= std::isfinite(v);
    for (const float v : c.z) finite &= std::isfinite(v);
  }
  return finite;
}

bool IsFinite(const Past& p) {
  bool finite = IsFinite(static_cast<const Days&>(p)) && std::isfinite(p.weekly_variance);
  for (const float v : p.week) finite &= std::isfinite(v);
  return finite;
}

// Version 1 kept both in one record; version 2 knew no week (its past was of version 1).
struct OldRecord {
  double expected, width, probability;
  float held;
  uint32_t age, seen, unused;
  struct {
    double sum, level, near_level, variance, near_variance;
    float z[kMostHeld];
    uint32_t parts, bins;
  } clocks[kClocks];
  double plain_level, plain_variance, seasonal_variance;
  float profile[kHours];
};
bool IsFinite(const OldRecord& r) {
  bool finite = std::isfinite(r.held) && std::isfinite(r.probability);
  for (const double v : {r.plain_level, r.plain_variance, r.seasonal_variance}) finite &= std::isfinite(v);
  for (const float v : r.profile) finite &= std::isfinite(v);
  for (const auto& c : r.clocks) {
    for (const double v : {c.sum, c.level, c.near_level, c.variance, c.near_variance}) finite &= std::isfinite(v);
    for (const float v : c.z) finite &= std::isfinite(v);
  }
  return finite;
}

constexpr double kMost = 1e100;  // its square is finite
double ClippedZ(double error, double scale) { return std::clamp(error / scale, -kMostZ, kMostZ); }

class HeldLevel final : public SeriesModel<HeldLevel, TwoPartModel<Open, OpenBlock, Past>> {
 public:
  explicit HeldLevel(const Options& options)
      : SeriesModel(BlockTable<Open, OpenBlock>("held_level", 2), RecordTable<Past>("held_level.past", 2)),
        prior_(options.prior),
        warm_up_(static_cast<uint32_t>(std::clamp(std::ceil(options.warm_up_seconds / options.tick_seconds), 0.0, 4e9))),
        hours_a_tick_(options.tick_seconds / kDay * kHours) {
    double bin_seconds = options.tick_seconds;
    for (int k = 0; k < kClocks; ++k) {
      parts_[k] = static_cast<uint32_t>(std::clamp(std::round(kBinSeconds[k] / bin_seconds), 1.0, double{kMostParts}));
      bin_seconds *= parts_[k];
      gain_[k] = -std::expm1(-M_LN2 * bin_seconds / options.half_life_seconds);
      near_gain_[k] = -std::expm1(-M_LN2 * bin_seconds / (kShortMemory * options.half_life_seconds));
      if (k == 0) week_ticks_ = std::llround(7.0 * kDay / options.tick_seconds);
      if (k != kMinute) continue;
      day_bins_ = kDay / bin_seconds;
      profile_gain_ = -std::expm1(-M_LN2 * kHours * bin_seconds / kProfileHalfLife);
      week_gain_ = -std::expm1(-M_LN2 * kHalfDays * bin_seconds / kWeekHalfLife);
    }
  }
  void Skip(int64_t ticks) override {
    for (int64_t i = 0; i < series(); ++i) {
      Open o = open_.Get(i);
      const int64_t age = o.age + ticks;
      if (o.seen > 0) o.age = static_cast<uint32_t>(age < 0 ? age + week_ticks_ : age);
      open_.Put(i, o);
    }
  }
  // Also what older versions saved.
  bool Load(std::string_view bytes) override { return TwoPartModel::Load(bytes) || LoadWithoutWeek(bytes) || LoadOldRecords(bytes); }

 private:
  friend SeriesModel;
  OUTLIER_INLINE void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const Open o = open_.Get(i);
    const bool ready = o.seen >= warm_up_ && o.stands != 0, judged = ready && mask.data()[i] && std::isfinite(x.data()[i * x.outerStride()]);
    const double z = judged ? o.held : 0.0;
    out->ready.data()[i] = ready;
    out->z.data()[i] = z;
    if (out->Wants(z)) TellOne(i, o, judged, out);
  }
  [[gnu::noinline]] void TellOne(int64_t i, const Open& o, bool judged, Assessment* out) const {
    out->tail_probability(i) = judged ? std::max(NormalTwoSidedTail(std::abs(o.held)), kLeastProbability) : 1.0;
    if (!out->wants_expected()) return;
    const Past& p = *past_.at(i);
    const Clock& shown = p.clocks[kMinute];
    const double expected = shown.level + At(o.age, p).used, width = shown.bins == 0 ? 0.0 : kCentralZ * Scale(shown.variance, shown);
    out->Expect(i, expected, expected - width, expected + width);
  }

  OUTLIER_INLINE void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    Open o = open_.Get(i);
    const double value = x.data()[i * x.outerStride()];
    if (mask.data()[i] && std::isfinite(value)) {
      ++o.seen;
      o.sum += std::clamp(value, -kMost, kMost);
      if (++o.values >= parts_[kMinute]) EndMinute(past_.at(i), &o);
    }
    o.age += o.seen > 0 ? 1 : 0;
    open_.Put(i, o);
  }

  // Ticks of four series that are all observed, end no minute and have nothing to tell; or of which none is observed.
  OUTLIER_INLINE bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out) {
    const int64_t stride = x.outerStride();
    const WideLanes value = WideLanes::From(x.data() + first * stride, stride);
    OpenBlock& b = open_.block(first);
    const LaneMask ready = (b.seen >= warm_up_) & (b.state > kMostParts);
    const Lanes z = Where(ready, b.held);
    if (AllAbsent(mask, first) && out->notable > 0.0) {
      Tell(first, Lanes{}, ready, out);
      b.age -= static_cast<LaneCounts>(b.seen != 0);
      return true;
    }
    const LaneMask odd = ((b.state & kMostParts) >= parts_[kMinute] - 1) | (Abs(z) >= static_cast<float>(kSurelyLess * out->notable));
    if (!AllPresent(mask, first) || !value.finite() || Any(odd)) return false;
    Tell(first, z, ready, out);
    b.sum = b.sum + value.Within(kMost);
    b.seen += 1;
    b.state += 1;
    b.age += 1;
    return true;
  }

  // Between the middles of two bins of a cycle, by their weights.
  struct Between {
    int before, after;
    double weight;  // of `after`
    double Of(const float* bins) const { return (1.0 - weight) * bins[before] + weight * bins[after]; }
    template <int kBins>
    static Between At(double bins) {
      const double whole = std::floor(bins - 0.5 + kBins);
      const int before = static_cast<int>(std::fmod(whole, kBins));
      return {before, (before + 1) % kBins, bins - 0.5 + kBins - whole};
    }
  };
  // What the hour of the day and the day of the week add at this moment.
  struct Season {
    Between hour, part;   // of the day; of the week
    double daily, weekly; // weekly: beyond the daily
    double used;          // of both, what is believed
  };
  Season At(uint32_t age, const Past& p) const {
    const double hours = age * hours_a_tick_;
    Season s;
    s.hour = Between::At<kHours>(hours);
    s.part = Between::At<kHalfDays>(hours * (kHalfDays / (kWeekDays * kHours)));
    s.daily = s.hour.Of(p.profile);
    s.weekly = s.part.Of(p.week);
    const bool daily = hours > kHours && p.seasonal_variance < kProfileGate * p.plain_variance;
    const bool weekly = hours > kWeeksOfSupport * kWeekDays * kHours && p.weekly_variance < kProfileGate * (daily ? p.seasonal_variance : p.plain_variance);
    s.used = weekly ? s.daily + s.weekly : daily ? s.daily : 0.0;
    return s;
  }

  double Scale(double variance, const Clock& c) const {
    const double floor = std::max(prior_.scale_floor, prior_.relative_floor * std::abs(c.level));
    return std::max(std::sqrt(variance), floor) * (1.0 + kYouth / std::max(c.bins, 1u));
  }

  // The mean of a minute is a part of the slow clock's bin.
  [[gnu::noinline]] void EndMinute(Past* p, Open* o) const {
    const double mean = o->sum / o->values;
    o->sum = 0.0;
    o->values = 0;
    Close(mean, kMinute, o->age, p);
    p->slow_sum += mean;
    if (++p->slow_parts >= parts_[kSlow]) {
      Close(p->slow_sum / p->slow_parts, kSlow, o->age, p);
      p->slow_sum = 0.0;
      p->slow_parts = 0;
    }
    double most = 0.0;
    for (int k = 0; k < kClocks; ++k) {
      const Clock& c = p->clocks[k];
      if (c.bins < kLeastBins) continue;
      o->stands = 1;
      double least = std::abs(c.z[0]);
      for (int n = 1; n < kHeld[k]; ++n) least = c.z[n] * c.z[0] > 0.0f ? std::min<double>(least, std::abs(c.z[n])) : 0.0;
      if (least > std::abs(most)) most = std::copysign(least, c.z[0]);
    }
    o->held = static_cast<float>(most);
  }

  // Level and variance by the same weight; what enters is at most kWinsor scales.
  static void Learn(double value, double scale, double gain, double* level, double* variance) {
    const double e = std::clamp(value - *level, -kWinsor * scale, kWinsor * scale);
    *level += gain * e;
    *variance += gain * ((1.0 - gain) * e * e / kConsistency - *variance);
  }

  void Close(double mean, int k, uint32_t age, Past* p) const {
    Clock& c = p->clocks[k];
    const Season season = At(age, *p);
    const double value = mean - season.used;
    if (c.bins == 0) {
      c.level = c.near_level = value;
      if (k == kMinute) p->plain_level = mean;
      c.bins = 1;
      return;
    }
    const double scale = Scale(c.variance, c), near_scale = Scale(c.near_variance, c);
    const double z = ClippedZ(value - c.level, scale), near_z = ClippedZ(value - c.near_level, near_scale);
    std::copy_backward(c.z, c.z + kMostHeld - 1, c.z + kMostHeld);
    c.z[0] = static_cast<float>(z * near_z > 0.0 ? std::copysign(std::min(std::abs(z), std::abs(near_z)), z) : 0.0);
    const double fresh = 1.0 / (c.bins + 1.0);
    if (k == kMinute) LearnProfile(mean, season, std::max(gain_[k], fresh), age, p);
    Learn(value, scale, std::max(gain_[k], fresh), &c.level, &c.variance);
    Learn(value, near_scale, std::max(near_gain_[k], fresh), &c.near_level, &c.near_variance);
    ++c.bins;
  }

  // Each of the two bins takes its share of the error (least mean squares; Widrow & Hoff 1960).
  static void Teach(const Between& between, double step, float* bins) {
    for (const auto& [bin, share] : {std::pair{between.before, 1.0 - between.weight}, std::pair{between.after, between.weight}}) {
      bins[bin] = static_cast<float>(std::clamp(bins[bin] + 2.0 * share * step, -kMostProfile, kMostProfile));
    }
  }
  void LearnProfile(double mean, const Season& season, double gain, uint32_t age, Past* p) const {
    const Clock& minute = p->clocks[kMinute];
    const double scale = Scale(p->plain_variance, minute), plain = std::clamp(mean - p->plain_level, -kWinsor * scale, kWinsor * scale);
    const double error = plain - season.daily, rest = error - season.weekly;
    // Visits of a bin so far: a first day, a first week fills it, later ones refine it.
    const double days = age * hours_a_tick_ / kHours;
    Teach(season.hour, std::max(profile_gain_, kHours / ((1.0 + days) * day_bins_)) * error, p->profile);
    Teach(season.part, std::max(week_gain_, kHalfDays / ((1.0 + days / kWeekDays) * kWeekDays * day_bins_)) * rest, p->week);
    p->weekly_variance += gain * (rest * rest / kConsistency - p->weekly_variance);
    p->seasonal_variance += gain * (error * error / kConsistency - p->seasonal_variance);
    p->plain_variance += gain * (plain * plain / kConsistency - p->plain_variance);
    p->plain_level += gain * plain;
  }

  bool LoadWithoutWeek(std::string_view bytes) {
    BlockTable<Open, OpenBlock> open = open_;
    RecordTable<Days> old("held_level.past", 1);
    if (!open.Load(&bytes) || !old.Load(&bytes) || !bytes.empty() || open.series() != old.series()) return false;
    open_ = std::move(open);
    past_.Resize(0);
    past_.Resize(old.series());
    for (int64_t i = 0; i < old.series(); ++i) {
      static_cast<Days&>(*past_.at(i)) = *old.at(i);
      past_.at(i)->weekly_variance = old.at(i)->seasonal_variance;
    }
    return true;
  }

  bool LoadOldRecords(std::string_view bytes) {
    RecordTable<OldRecord> old("held_level", 1);
    if (!old.Load(&bytes) || !bytes.empty()) return false;
    Resize(0);
    Resize(old.series());
    for (int64_t i = 0; i < old.series(); ++i) {
      Open o;
      Take(*old.at(i), &o, past_.at(i));
      open_.Put(i, o);
    }
    return true;
  }

  static void Take(const OldRecord& r, Open* o, Past* p) {
    *o = {r.clocks[kMinute].sum, r.held, r.age, r.seen, static_cast<uint16_t>(std::min<uint32_t>(r.clocks[kMinute].parts, kMostParts)), r.probability > 0.0};
    for (int k = 0; k < kClocks; ++k) {
      const auto& from = r.clocks[k];
      Clock& c = p->clocks[k];
      c = {from.level, from.near_level, from.variance, from.near_variance, {}, from.bins, 0};
      std::copy(std::begin(from.z), std::end(from.z), c.z);
    }
    p->slow_sum = r.clocks[kSlow].sum;
    p->slow_parts = r.clocks[kSlow].parts;
    p->plain_level = r.plain_level;
    p->plain_variance = r.plain_variance;
    p->seasonal_variance = p->weekly_variance = r.seasonal_variance;
    std::copy(std::begin(r.profile), std::end(r.profile), p->profile);
  }

  Prior prior_;
  uint32_t warm_up_;
  double hours_a_tick_, day_bins_ = 0.0, profile_gain_ = 0.0, week_gain_ = 0.0;
  int64_t week_ticks_ = 0;
  std::array<uint32_t, kClocks> parts_{};          // in a bin
  std::array<double, kClocks> gain_{}, near_gain_{};
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<HeldLevel>(options); }

}  // namespace outlier::models::held_level
