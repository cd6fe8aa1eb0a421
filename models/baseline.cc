#include "models/baseline.h"

#include <algorithm>
#include <cmath>

#include "models/tail.h"

namespace outlier::models {
namespace {

using namespace baseline_law;

constexpr double kWinsor = 3.0;           // standard deviations
constexpr double kSettleAlpha = 1.0 / 3.0;
constexpr double kTailWeight = 200.0;     // observations the prior of the tail is worth
constexpr double kMostValue = 1e100;      // its square and the sums of squares stay finite

double Clamp(double x) { return std::clamp(x, -kMostValue, kMostValue); }

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

Baseline::Baseline(std::string_view family, uint32_t version, const BaselineOptions& options)
    : options_(options), table_(family, version, kFields) {}

double Baseline::scale(int64_t i, double floor) const { return std::max(std::sqrt(table_.at(kVariance, i)), floor); }

double Baseline::Limited(int64_t i, double x, double z, double s) const {
  const double age = table_.at(kAge, i), cold = options_.cold_ticks;
  if (age < cold) {
    const double low = table_.at(kLow, i), high = table_.at(kHigh, i), margin = kMargin * (high - low);
    const double beyond = std::max({x - high - margin, low - margin - x, 0.0}) / s;
    const double most = beyond + std::min(kInside, table_.at(kHundredth, i)) * cold / (cold - age);
    z = std::clamp(z, -most, most);
  }
  return std::clamp(z, -kMostZ, kMostZ);
}

Baseline::Look Baseline::See(int64_t i, double x, double floor) const {
  Look look;
  look.x = Clamp(x);
  look.scale = scale(i, floor);
  look.z = (look.x - table_.at(kLevel, i)) / look.scale;
  look.limited = Limited(i, look.x, look.z, look.scale);
  return look;
}

Judgement Baseline::Expect(int64_t i, double scale) const {
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

Judgement Baseline::Judge(int64_t i, double x, double floor) const { return Tell(i, See(i, x, floor)); }

Judgement Baseline::Tell(int64_t i, const Look& look) const {
  Judgement out = Expect(i, look.scale);
  if (!out.ready) return out;
  out.z = look.limited;
  const Tail tail{table_.at(kHalf, i), table_.at(kTenth, i), table_.at(kHundredth, i), table_.at(kExcess, i), table_.at(kExcessSquare, i)};
  out.tail_probability = tail.Probability(std::abs(out.z), options_.tail_shape);
  return out;
}

void Baseline::Begin(int64_t i, double x) {
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
void Baseline::Relearn(int64_t i, double x) {
  table_.at(kAge, i) = options_.settle_ticks + 1;
  table_.at(kLevel, i) = table_.at(kLow, i) = table_.at(kHigh, i) = x;
  table_.at(kMagnitude, i) = std::abs(x);
  table_.at(kHold, i) = 0;
}

void Baseline::LearnRange(int64_t i, double x, bool excursion) {
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

void Baseline::Learn(int64_t i, double x, double floor) { Teach(i, See(i, x, floor)); }

void Baseline::Teach(int64_t i, const Look& look) {
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

}  // namespace outlier::models
