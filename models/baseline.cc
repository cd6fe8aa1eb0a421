#include "models/baseline.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "models/tail.h"

namespace outlier::models {
namespace {

using namespace baseline_law;

constexpr double kWinsor = 3.0;           // standard deviations
constexpr double kSettleAlpha = 1.0 / 3.0;
constexpr double kTailWeight = 200.0;     // observations the prior of the tail is worth
constexpr double kMostValue = 1e100;      // its square and the sums of squares stay finite

double Clamp(double x) { return std::clamp(x, -kMostValue, kMostValue); }

// Tail::Learn of two series where `taught`; `tail`: its five fields, every other pair.
OUTLIER_INLINE void TeachTail(LanePair a, LanePair gain, PairMask taught, LanePair* tail) {
  using namespace tail_law;
  LanePair half = tail[0], tenth = tail[2], hundredth = tail[4], excess = tail[6], excess_square = tail[8];
  half += kHalfGain / kHalfDeviate * gain * half * CopySign(AllPair(0.5), a - half);
  tenth += kTenthGain / kTenthDeviate * gain * tenth * (0.4 + CopySign(AllPair(0.5), a - tenth));
  const PairMask beyond = a > hundredth;
  const LanePair over = Min(a - hundredth, kMostExcess * excess), step = kHundredthGain * gain * excess;
  hundredth += beyond ? step * 0.99 : step * -0.01;
  const LanePair weight = Where(beyond, Min(kExcessGain * gain, 0.5));
  excess = beyond ? excess + weight * (over - excess) : excess;
  excess_square = beyond ? excess_square + weight * (over * over - excess_square) : excess_square;
  half = Max(half, kLeastHalf);
  tenth = Max(Max(tenth, kLeastTenth), 1.05 * half);
  hundredth = Max(Max(hundredth, kLeastHundredth), 1.05 * tenth);
  excess = Max(excess, kLeastExcess);
  excess_square = Max(excess_square, excess * excess);
  const LanePair learned[] = {half, tenth, hundredth, excess, excess_square};
  for (int k = 0; k < 5; ++k) tail[2 * k] = taught ? learned[k] : tail[2 * k];
}

}  // namespace

BaselineOptions TicksOf(const Options& options) {
  const double tick = options.tick_seconds;
  BaselineOptions out;
  out.alpha = -std::expm1(-M_LN2 * tick / options.half_life_seconds);
  out.warm_up_ticks = std::max(2.0, std::ceil(options.warm_up_seconds / tick));
  out.settle_ticks = std::floor(out.warm_up_ticks / 4.0);
  out.cold_ticks = std::floor(options.cold_seconds / tick);
  out.relearn_ticks = std::max(out.warm_up_ticks, std::ceil(options.relearn_seconds / tick));
  out.teach_ticks = std::max(1.0, std::round(5.0 / tick));     // seconds an excursion counts as noise
  out.forgive_ticks = std::max(2.0, std::round(10.0 / tick));  // seconds under which one that ended was life
  out.tail_shape = options.prior.tail_shape;
  return out;
}

template <class Table>
BaselineOf<Table>::BaselineOf(std::string_view family, uint32_t version, const BaselineOptions& options)
    : options_(options), table_(family, version, kFields) {}

template <class Table>
double BaselineOf<Table>::scale(int64_t i, double floor) const { return std::max(std::sqrt(table_.at(kVariance, i)), floor); }

template <class Table>
double BaselineOf<Table>::Limited(int64_t i, double x, double z, double s) const {
  const double age = table_.at(kAge, i), cold = options_.cold_ticks;
  if (age < cold) {
    const double low = table_.at(kLow, i), high = table_.at(kHigh, i), margin = kMargin * (high - low);
    const double beyond = std::max({x - high - margin, low - margin - x, 0.0}) / s;
    const double most = beyond + std::min(kInside, table_.at(kHundredth, i)) * cold / (cold - age);
    z = std::clamp(z, -most, most);
  }
  return std::clamp(z, -kMostZ, kMostZ);
}

template <class Table>
typename BaselineOf<Table>::Look BaselineOf<Table>::See(int64_t i, double x, double floor) const {
  Look look;
  look.x = Clamp(x);
  look.scale = scale(i, floor);
  look.z = (look.x - table_.at(kLevel, i)) / look.scale;
  look.limited = Limited(i, look.x, look.z, look.scale);
  return look;
}

template <class Table>
Judgement BaselineOf<Table>::Expect(int64_t i, double scale) const {
  Judgement out;
  const double age = table_.at(kAge, i);
  if (age <= 0) return out;
  const double width = scale * table_.at(kHundredth, i);
  out.expected = table_.at(kLevel, i);
  out.lower = out.expected - width;
  out.upper = out.expected + width;
  if (age < options_.cold_ticks) {
    out.lower = std::min(out.lower, table_.at(kLow, i));
    out.upper = std::max(out.upper, table_.at(kHigh, i));
  }
  out.ready = ready(i);
  return out;
}

template <class Table>
Judgement BaselineOf<Table>::Judge(int64_t i, double x, double floor) const { return Tell(i, See(i, x, floor)); }

template <class Table>
Judgement BaselineOf<Table>::Tell(int64_t i, const Look& look) const {
  Judgement out = Expect(i, look.scale);
  if (!out.ready) return out;
  out.z = look.limited;
  const Tail tail{table_.at(kHalf, i), table_.at(kTenth, i), table_.at(kHundredth, i), table_.at(kExcess, i), table_.at(kExcessSquare, i)};
  out.tail_probability = tail.Probability(std::abs(out.z), options_.tail_shape);
  return out;
}

template <class Table>
void BaselineOf<Table>::Begin(int64_t i, double x) {
  table_.at(kAge, i) = 1;
  table_.at(kLevel, i) = table_.at(kLow, i) = table_.at(kHigh, i) = x;
  table_.at(kMagnitude, i) = std::abs(x);
  const Tail tail = Tail::Prior(options_.tail_shape);
  table_.at(kHalf, i) = tail.half;
  table_.at(kTenth, i) = tail.tenth;
  table_.at(kHundredth, i) = tail.hundredth;
  table_.at(kExcess, i) = tail.excess;
  table_.at(kExcessSquare, i) = tail.excess_square;
}

// The value that held is the new normal: its level is learned from here, the old spread and tail are the prior.
template <class Table>
void BaselineOf<Table>::Relearn(int64_t i, double x) {
  table_.at(kAge, i) = options_.settle_ticks + 1;
  table_.at(kLevel, i) = table_.at(kLow, i) = table_.at(kHigh, i) = x;
  table_.at(kMagnitude, i) = std::abs(x);
  table_.at(kHold, i) = 0;
}

template <class Table>
void BaselineOf<Table>::LearnRange(int64_t i, double x, bool excursion) {
  double& low = table_.at(kLow, i);
  double& high = table_.at(kHigh, i);
  double& hold = table_.at(kHold, i);
  double& extreme = table_.at(kExtreme, i);
  const double level = table_.at(kLevel, i);
  if (excursion) {
    const bool further = hold == 0 || std::abs(x - level) > std::abs(extreme - level);
    if (further) extreme = x;
    hold += 1;
    return;
  }
  if (hold > 0 && hold < options_.forgive_ticks) {
    low = std::min(low, extreme);
    high = std::max(high, extreme);
  }
  hold = 0;
  const double forget = RangeForgets(options_.cold_ticks);
  low = std::min(low + forget * (level - low), x);
  high = std::max(high + forget * (level - high), x);
}

template <class Table>
void BaselineOf<Table>::Learn(int64_t i, double x, double floor) { Teach(i, See(i, x, floor)); }

template <class Table>
void BaselineOf<Table>::Teach(int64_t i, const Look& look) {
  const double x = look.x, s = look.scale, error = x - table_.at(kLevel, i);
  double& age = table_.at(kAge, i);
  if (age == 0) {
    Begin(i, x);
    return;
  }
  const bool settling = age < options_.settle_ticks, warm = age >= options_.warm_up_ticks;
  const bool excursion = warm && std::abs(look.limited) > std::max(kExcursion, table_.at(kHundredth, i));
  const bool held = excursion && table_.at(kHold, i) >= options_.teach_ticks;

  const double alpha = settling ? kSettleAlpha : std::max(options_.alpha, 1.0 / (age - options_.settle_ticks + 3.0));
  const double b = alpha * (held ? kSuspectWeight : 1.0);
  const double e = std::clamp(error, -kWinsor * s, kWinsor * s);
  table_.at(kLevel, i) += b * e;
  table_.at(kVariance, i) += b * ((1.0 - b) * e * e - table_.at(kVariance, i));
  double& magnitude = table_.at(kMagnitude, i);
  magnitude += b * (std::min(std::abs(x), magnitude + kWinsor * s) - magnitude);
  if (!settling && !held) {
    Tail tail{table_.at(kHalf, i), table_.at(kTenth, i), table_.at(kHundredth, i), table_.at(kExcess, i), table_.at(kExcessSquare, i)};
    tail.Learn(std::min(std::abs(look.z), kMostZ), std::max(options_.alpha, 1.0 / (age + kTailWeight)));
    table_.at(kHalf, i) = tail.half;
    table_.at(kTenth, i) = tail.tenth;
    table_.at(kHundredth, i) = tail.hundredth;
    table_.at(kExcess, i) = tail.excess;
    table_.at(kExcessSquare, i) = tail.excess_square;
  }
  if (settling) {
    table_.at(kLow, i) = table_.at(kHigh, i) = x;
  } else {
    LearnRange(i, x, excursion);
  }
  age += 1;
  if (table_.at(kHold, i) >= options_.relearn_ticks) Relearn(i, x);
}

// What Teach does, to two series; false, and nothing done, where one begins. `block`: theirs, a field every other pair.
template <class Table>
bool BaselineOf<Table>::TeachPair(LanePair x, LanePair floor, PairMask taught, LanePair* block) {
  const auto at = [block](Field field) -> LanePair& { return block[2 * field]; };
  const LanePair age = at(kAge), level = at(kLevel);
  if (Any(taught & (age == 0.0))) return false;
  const auto teach = [taught](LanePair& to, LanePair value) { to = taught ? value : to; };
  x = Min(Max(x, -kMostValue), kMostValue);
  const LanePair s = Max(Sqrt(at(kVariance)), floor), z = (x - level) / s;
  LanePair limited = z;
  const PairMask cold = age < options_.cold_ticks;
  if (Any(cold)) {
    const LanePair low = at(kLow), high = at(kHigh), margin = kMargin * (high - low);
    const LanePair beyond = Max(Max(x - high - margin, low - margin - x), 0.0) / s;
    const LanePair most = beyond + Min(at(kHundredth), kInside) * options_.cold_ticks / (options_.cold_ticks - age);
    limited = cold ? Min(Max(z, -most), most) : z;
  }
  limited = Min(Max(limited, -kMostZ), kMostZ);
  const PairMask settling = age < options_.settle_ticks, warm = age >= options_.warm_up_ticks;
  const PairMask excursion = warm & (Abs(limited) > Max(at(kHundredth), kExcursion));
  const PairMask held = excursion & (at(kHold) >= options_.teach_ticks);

  const LanePair young = Max(AllPair(options_.alpha), 1.0 / (age - options_.settle_ticks + 3.0));
  const LanePair alpha = settling ? AllPair(kSettleAlpha) : young, b = alpha * (held ? AllPair(kSuspectWeight) : AllPair(1.0));
  const LanePair most = kWinsor * s, e = Min(Max(x - level, -most), most), now = level + b * e, magnitude = at(kMagnitude);
  teach(at(kLevel), now);
  teach(at(kVariance), at(kVariance) + b * ((1.0 - b) * e * e - at(kVariance)));
  teach(at(kMagnitude), magnitude + b * (Min(Abs(x), magnitude + most) - magnitude));
  TeachTail(Min(Abs(z), kMostZ), Max(AllPair(options_.alpha), 1.0 / (age + kTailWeight)), taught & ~settling & ~held, &at(kHalf));

  // The range, as LearnRange does it.
  const LanePair hold = at(kHold), extreme = at(kExtreme), low = at(kLow), high = at(kHigh);
  const double forget = RangeForgets(options_.cold_ticks);
  const PairMask life = (hold > 0.0) & (hold < options_.forgive_ticks);
  const LanePair calm_low = life ? Min(low, extreme) : low, calm_high = life ? Max(high, extreme) : high;
  const LanePair lower = Min(calm_low + forget * (now - calm_low), x), upper = Max(calm_high + forget * (now - calm_high), x);
  const PairMask further = (hold == 0.0) | (Abs(x - now) > Abs(extreme - now));
  teach(at(kLow), settling ? x : excursion ? low : lower);
  teach(at(kHigh), settling ? x : excursion ? high : upper);
  teach(at(kExtreme), ~settling & excursion & further ? x : extreme);
  teach(at(kHold), settling ? hold : Where(excursion, hold + 1.0));
  teach(at(kAge), age + 1.0);
  return true;
}

template <class Table>
void BaselineOf<Table>::LearnFour(int64_t first, const double* x, const double* floor, const bool* taught) {
  if constexpr (std::is_same_v<Table, WideTable>) {
    for (int64_t half = 0; half < 2; ++half, x += 2, floor += 2, taught += 2) {
      const PairMask wanted{-static_cast<int64_t>(taught[0]), -static_cast<int64_t>(taught[1])};
      const int64_t at = first + 2 * half;
      const bool done = Any(wanted) && TeachPair(LanePair{x[0], x[1]}, LanePair{floor[0], floor[1]}, wanted, table_.block(first) + half);
      for (int lane = 0; lane < 2; ++lane) {
        if (!taught[lane]) continue;
        if (!done) {
          Learn(at + lane, x[lane], floor[lane]);
        } else if (table_.at(kHold, at + lane) >= options_.relearn_ticks) {
          Relearn(at + lane, Clamp(x[lane]));
        }
      }
    }
  } else {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (taught[lane]) Learn(first + lane, x[lane], floor[lane]);
    }
  }
}

template class BaselineOf<SeriesTable>;
template class BaselineOf<WideTable>;

}  // namespace outlier::models
