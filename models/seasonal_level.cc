#include "models/seasonal_level.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "models/lane_model.h"
#include "models/seen_peak.h"

OUTLIER_LANES_BEGIN
namespace seasonal_level {
namespace {

constexpr int kHours = 24, kHalfDays = 14;
constexpr float kHoursAWeek = 168.0f, kHoursAHalfDay = 12.0f;
constexpr double kDay = 86400.0;
constexpr double kShortMemory = 1.0 / 48.0;  // of the half-life
constexpr double kProfileHalfLife = 7 * kDay, kWeekHalfLife = 28 * kDay;
constexpr float kWeekSupports = 2.0f * kHoursAWeek;
constexpr float kProfileGain = 0.9f;
constexpr float kProfileGate = 0.9486833f;   // root mean square with profile over without: less, and it is used
constexpr float kRangeShare = 0.02f;         // least scale as a share of the seen range
constexpr float kRangeForgets = 0.3f;        // times the rate of the long memory

struct alignas(sizeof(Lanes)) Block {
  static constexpr int kWide = 3, kBits = (kHours + kHalfDays) / 2, kSeldom = kBits + 1;  // seldom: the profiles, in small numbers of one unit
  WideLanes level, near_level;
  WideLanes ticks;                    // since first seen: the clock of the day
  Lanes learned;                      // values; beyond 2^24 no weight depends on it
  Lanes spread, plain_spread, near_spread;  // of the residual with and without profile; of the short memory
  Lanes below, above;                 // how far the seen range reaches from the level
  SeenPeak peak;                      // of the residual without profile, on either side
  LaneTail tail, near_tail;
  Lanes week, week_spread;            // what this half day of the week adds to the profile of the day; the spread with both
  Lanes season;                       // the profile of this hour: put in its place there when the hour has passed
};

class SeasonalLevel final : public LaneModel<SeasonalLevel, Block> {
 public:
  explicit SeasonalLevel(const Options& options)
      : LaneModel(LaneTable<Block>("seasonal_level", 4)),
        floor_(Max(AllLanes(static_cast<float>(options.prior.scale_floor)), kLeastScale)),
        shape_(options.prior.tail_shape),
        warm_up_(WarmUp(options)),
        gain_(options.half_life_seconds / options.tick_seconds, warm_up_[0]),
        near_least_(Gain(kShortMemory * options.half_life_seconds / options.tick_seconds, warm_up_[0]).least()),
        hours_a_tick_(options.tick_seconds / kDay * kHours),
        ticks_an_hour_(AllLanes(static_cast<float>(1.0 / hours_a_tick_))),
        profile_gain_(Max(AllLanes(static_cast<float>(-std::expm1(-M_LN2 * kHours * options.tick_seconds / kProfileHalfLife))),
                          LaneTail::kLeastGain)),
        week_gain_(Max(AllLanes(static_cast<float>(-std::expm1(-M_LN2 * kHalfDays * options.tick_seconds / kWeekHalfLife))), LaneTail::kLeastGain)),
        range_keeps_(1.0f - Max(kRangeForgets * gain_.least(), LaneTail::kLeastGain)) {}

  void Skip(int64_t ticks) override {
    for (int64_t i = 0; i < series(); ++i) {
      Block& b = table_.block(i);
      const int lane = static_cast<int>(i % kLanes);
      if (b.learned[lane] == 0.0f) continue;
      const float hours = Hours(lane, b);
      const double at = b.ticks.at(lane) + static_cast<double>(ticks);
      b.ticks.Set(lane, at >= 0.0 ? at : at + 7.0 * 24.0 * static_cast<double>(ticks_an_hour_[lane]));
      if (Hours(lane, b) != hours) TurnHour(lane, hours, &b, &table_.seldom(i));
    }
  }

 private:
  friend LaneModel;
  struct View {
    Lanes error, profiled, near_error;  // of the long memory without its profile, with it; of the short memory
    Lanes floor;       // of a scale that teaches for long: without what is not believed yet
    Lanes whole, of_hour;  // hours since first seen; ticks of this hour of the day so far, on all days
    Lanes both, of_half_day;  // the error with what the week adds, too; ticks of this half day of the week so far, in all weeks
    LaneMask seasonal, weekly; // they are used
    Innovation with, without, weeks, chosen, near;
  };

  OUTLIER_INLINE View See(const Block& b, const WideLanes& x) const {
    View v;
    const Lanes hours = (b.ticks * hours_a_tick_).Narrow();
    v.whole = Float(Whole(hours));
    const Lanes days = Float(Whole(v.whole * kDaysAnHour));
    v.of_hour = (days + (hours - v.whole)) * ticks_an_hour_;
    v.seasonal = (hours > static_cast<float>(kHours)) & (b.spread < kProfileGate * b.plain_spread);
    v.error = (x - b.level).Narrow();
    v.profiled = v.error - b.season;
    v.both = v.profiled - b.week;
    v.weekly = (hours > kWeekSupports) & (b.week_spread < kProfileGate * (v.seasonal ? b.spread : b.plain_spread));
    const Lanes weeks = Float(Whole(v.whole * kWeeksAnHour)), half_days = v.whole * kHalfDaysAnHour;
    v.of_half_day = (weeks + (hours * kHalfDaysAnHour - Float(Whole(half_days)))) * (kHoursAHalfDay * ticks_an_hour_);
    v.near_error = (x - b.near_level).Narrow();
    v.floor = Max(kRangeShare * (b.below + b.above), floor_);
    const Lanes floor = Max(kRangeShare * b.peak.Fading(), v.floor);
    v.with = Innovation::Of(v.profiled, b.spread, floor);
    v.without = Innovation::Of(v.error, b.plain_spread, floor);
    v.near = Innovation::Of(v.near_error, b.near_spread, floor);
    v.weeks = Innovation::Of(v.both, b.week_spread, floor);
    v.chosen.scale = v.weekly ? v.weeks.scale : v.seasonal ? v.with.scale : v.without.scale;
    v.chosen.z = v.weekly ? v.weeks.z : v.seasonal ? v.with.z : v.without.z;
    return v;
  }

  OUTLIER_INLINE LaneMask Ready(const Block& b) const { return (b.learned >= warm_up_) & Knows(b); }
  OUTLIER_INLINE Lanes Z(const Block&, const View& v) const { return CopySign(Min(Abs(v.chosen.z), Abs(v.near.z)), v.chosen.z); }
  OUTLIER_INLINE Rarity RarityOf(const Block& b, const View& v) const {
    const Lanes a = Abs(v.chosen.z), near_a = Abs(v.near.z);
    // The larger of the two.
    return {LaneTail::Probability(Min(b.tail.Deviate(a), b.near_tail.Deviate(near_a))), (a > b.tail.hundredth) & (near_a > b.near_tail.hundredth)};
  }
  OUTLIER_INLINE Interval Expect(const Block& b, const View& v) const {
    const Lanes profile = v.weekly ? b.season + b.week : Where(v.seasonal, b.season), away = (b.near_level - b.level).Narrow();
    const Lanes width = v.chosen.scale * b.tail.hundredth, near_width = v.near.scale * b.near_tail.hundredth;
    return {b.level + WideLanes::Of(profile), b.level + WideLanes::Of(Min(profile - width, away - near_width)),
            b.level + WideLanes::Of(Max(profile + width, away + near_width))};
  }
  double FarProbability(const Block& b, const View& v, int lane) const {
    return std::max(b.tail.At(lane).Probability(std::abs(v.chosen.z[lane]), shape_),
                    b.near_tail.At(lane).Probability(std::abs(v.near.z[lane]), shape_));
  }

  OUTLIER_INLINE LaneMask Knows(const Block& b) const { return b.learned >= kFirst; }

  OUTLIER_INLINE void Learn(const WideLanes&, const View& v, Block* b, Seldom* profile) const {
    const Lanes tail_gain = gain_.OfTail(b->learned);
    b->tail.Learn(Abs(v.chosen.z), tail_gain);
    b->near_tail.Learn(Abs(v.near.z), tail_gain);
    const Lanes young = gain_.OfYoung(b->learned), gain = Max(young, gain_.least()), near_gain = Max(young, near_least_);
    // One over the values of this hour so far, as if none had been missing, until the least is more.
    const Lanes profile_gain = Where(gain_.Settled(b->learned), Max(1.0f / (v.of_hour + 3.0f), profile_gain_));
    b->season = Within(b->season + kProfileGain * profile_gain * v.with.Winsorised(), static_cast<float>(kMostValue));
    const Lanes moved = gain * v.chosen.Winsorised(), error = v.error - moved;
    b->level = b->level + WideLanes::Of(moved);
    b->near_level = b->near_level + WideLanes::Of(near_gain * v.near.Winsorised());
    // Not by the scale of the judgement: the long memory would keep what a peak that fades taught it.
    b->spread = Innovation::Of(v.profiled, b->spread, v.floor).Spread(gain);
    b->plain_spread = Innovation::Of(v.error, b->plain_spread, v.floor).Spread(gain);
    b->near_spread = v.near.Spread(near_gain);
    const Lanes week_gain = Where(gain_.Settled(b->learned), Max(1.0f / (v.of_half_day + 3.0f), week_gain_));
    b->week = Within(b->week + kProfileGain * week_gain * v.weeks.Winsorised(), static_cast<float>(kMostValue));
    b->week_spread = Innovation::Of(v.both, b->week_spread, v.floor).Spread(gain);
    const Lanes below = (b->below + moved) * range_keeps_, above = (b->above - moved) * range_keeps_;
    const Lanes reach = b->peak.Reach(b->plain_spread, b->learned);
    b->below = Max(Max(below, Min(-error, reach)), kLeastScale);
    b->above = Max(Max(above, Min(error, reach)), kLeastScale);
    b->peak.Learn(Abs(error), (-error > below) | (error > above), range_keeps_);
    b->learned += 1.0f;
    b->ticks = b->ticks + WideLanes::Of(AllLanes(1.0f));
    const LaneMask passed = Whole((b->ticks * hours_a_tick_).Narrow()) != Whole(v.whole);
    if (Any(passed)) [[unlikely]] {
      for (int lane = 0; lane < kLanes; ++lane) {
        if (passed[lane] != 0) TurnHour(lane, v.whole[lane], b, profile);
      }
    }
  }

  // The level begins at the median of three values: the first may be a glitch.
  void Begin(int lane, double x, Block* b) const {
    const double first = b->level.at(lane), second = b->near_level.at(lane);
    b->ticks.Set(lane, b->ticks.at(lane) + 1.0);
    b->learned[lane] += 1.0f;
    if (b->learned[lane] == 1.0f) {
      b->level.Set(lane, x);
      const Tail prior = Tail::Prior(shape_);
      b->tail.Begin(lane, prior);
      b->near_tail.Begin(lane, prior);
    }
    if (b->learned[lane] < kFirst) b->near_level.Set(lane, x);
    if (b->learned[lane] < kFirst) return;
    const auto [least, most] = std::minmax({first, second, x});
    const double median = std::max(std::min(first, second), std::min(std::max(first, second), x));
    b->level.Set(lane, median);
    b->near_level.Set(lane, median);
    b->below[lane] = b->above[lane] = static_cast<float>(std::min(most - median, median - least));
    b->peak.size[lane] = static_cast<float>(std::max(most - median, median - least));
  }

  void Miss(int lane, Block* b, Seldom* profile) const {
    if (b->learned[lane] == 0.0f) return;
    const float hours = Hours(lane, *b);
    b->ticks.Set(lane, b->ticks.at(lane) + 1.0);
    if (Hours(lane, *b) != hours) TurnHour(lane, hours, b, profile);
  }

  // Whole hours since first seen, as See counts them.
  float Hours(int lane, const Block& b) const { return Float(Whole((b.ticks * hours_a_tick_).Narrow()))[lane]; }
  // Keeps what is known of the hour that has passed and takes up what is known of the one that begins; of half days, too.
  void TurnHour(int lane, float passed, Block* b, Seldom* profiles) const {
    const float now = Hours(lane, *b);
    KeepSmall(lane, HourOfDay(passed), b->season[lane], profiles);
    b->season[lane] = Small(lane, HourOfDay(now), *profiles);
    const int was = kHours + HalfDayOfWeek(passed), is = kHours + HalfDayOfWeek(now);
    if (was == is) return;
    KeepSmall(lane, was, b->week[lane], profiles);
    b->week[lane] = Small(lane, is, *profiles);
  }
  static int HourOfDay(float hours) { return static_cast<int>(std::fmod(hours, static_cast<float>(kHours))); }
  static int HalfDayOfWeek(float hours) { return static_cast<int>(std::fmod(hours, kHoursAWeek) / kHoursAHalfDay); }

  // Numbers of 16 bits, two in a lane, in a unit that the first lane holds: a power of two with which the largest has 13 bits or more.
  static constexpr float kMostSmall = 32767.0f, kFewSmall = 8192.0f, kLeastUnit = 0x1p-120f;
  static size_t SmallAt(int lane, int k) { return (1 + k / 2) * sizeof(Lanes) + lane * sizeof(float) + k % 2 * sizeof(int16_t); }
  static float Small(int lane, int k, const Seldom& profiles) {
    int16_t number;
    std::memcpy(&number, reinterpret_cast<const char*>(&profiles) + SmallAt(lane, k), sizeof number);
    return profiles[0][lane] * static_cast<float>(number);
  }
  static void KeepSmall(int lane, int k, float value, Seldom* profiles) {
    std::array<float, 2 * Block::kBits> numbers;
    for (int n = 0; n < 2 * Block::kBits; ++n) numbers[n] = n == k ? value : Small(lane, n, *profiles);
    const float largest = std::abs(*std::max_element(numbers.begin(), numbers.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
    float unit = std::max((*profiles)[0][lane], kLeastUnit);
    while (largest > kMostSmall * unit) unit *= 2.0f;
    while (largest < kFewSmall * unit && unit > kLeastUnit) unit *= 0.5f;
    for (int n = 0; n < 2 * Block::kBits; ++n) {
      const auto small = static_cast<int16_t>(std::nearbyint(std::clamp(numbers[n] / unit, -kMostSmall, kMostSmall)));
      std::memcpy(reinterpret_cast<char*>(profiles) + SmallAt(lane, n), &small, sizeof small);
    }
    (*profiles)[0][lane] = unit;
  }

  static constexpr float kFirst = 3.0f;  // values

  // Rounded up, so that no multiple of 24 hours falls into the day before, nor of others.
  static constexpr float kDaysAnHour = 0.0416666679f, kWeeksAnHour = 0.00595238144f, kHalfDaysAnHour = 0.0833333358f;
  Lanes floor_;
  double shape_;
  Lanes warm_up_;
  Gain gain_;
  Lanes near_least_;
  double hours_a_tick_;
  Lanes ticks_an_hour_, profile_gain_, week_gain_, range_keeps_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<SeasonalLevel>(options); }

}  // namespace seasonal_level
OUTLIER_LANES_END
