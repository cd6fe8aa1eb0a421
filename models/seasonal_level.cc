#include "models/seasonal_level.h"

#include <algorithm>
#include <cmath>

#include "models/compact_tail.h"
#include "models/record_table.h"
#include "models/table_model.h"
#include "models/winsor.h"

namespace outlier::models::seasonal_level {
namespace {

constexpr int kHours = 24;
constexpr double kDay = 86400.0;
constexpr double kShortMemory = 1.0 / 48.0;  // of the half-life
constexpr double kProfileHalfLife = 7 * kDay;
constexpr double kProfileGain = 0.9;
constexpr double kProfileGate = 0.9;         // mean square with profile over without: less, and it is used
constexpr double kRangeShare = 0.02;         // least scale as a share of the seen range
constexpr double kRangeForgets = 0.3;        // times the rate of the long memory
constexpr double kMostProfile = 1e37;        // single precision

struct Record {
  double level, near_level;
  double variance, plain_variance, near_variance;  // of the residual with and without profile; of the short memory
  double low, high;
  float profile[kHours];
  CompactTail tail, near_tail;
  uint32_t ticks;    // since first seen: the clock of the day
  uint32_t learned;  // values
};
static_assert(sizeof(Record) == 7 * 8 + kHours * 4 + 2 * 20 + 2 * 4, "no padding: the bytes are saved");

bool IsFinite(const Record& r) {
  bool finite = IsFinite(r.tail) && IsFinite(r.near_tail);
  for (const double v : {r.level, r.near_level, r.variance, r.plain_variance, r.near_variance, r.low, r.high}) finite &= std::isfinite(v);
  for (const float v : r.profile) finite &= std::isfinite(v);
  return finite;
}

class SeasonalLevel final : public TableModel<RecordTable<Record>> {
 public:
  explicit SeasonalLevel(const Options& options)
      : TableModel(RecordTable<Record>("seasonal_level", 1)),
        floor_(options.prior.scale_floor),
        shape_(options.prior.tail_shape),
        warm_up_(std::max(2.0, std::ceil(options.warm_up_seconds / options.tick_seconds))),
        gain_(options.half_life_seconds / options.tick_seconds, warm_up_),
        near_gain_(kShortMemory * options.half_life_seconds / options.tick_seconds, warm_up_),
        hours_a_tick_(options.tick_seconds / kDay * kHours),
        profile_gain_(-std::expm1(-M_LN2 * kHours * options.tick_seconds / kProfileHalfLife)),
        profile_settled_((hours_a_tick_ / profile_gain_ + 1.0) * kHours) {}

  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const override {
    for (int64_t i = 0; i < series(); ++i) {
      const Record& r = *table_.at(i);
      out->z(i) = 0.0;
      out->tail_probability(i) = 1.0;
      out->rate(i) = 0.0;
      out->ready(i) = r.learned >= warm_up_;
      if (r.learned == 0) {
        out->expected(i) = out->lower(i) = out->upper(i) = 0.0;
        continue;
      }
      const View v = See(r);
      const double width = v.scale * r.tail.hundredth, near_width = v.near_scale * r.near_tail.hundredth;
      out->expected(i) = v.expected;
      out->lower(i) = std::min(v.expected - width, r.near_level - near_width);
      out->upper(i) = std::max(v.expected + width, r.near_level + near_width);
      if (!out->ready(i) || !mask(i) || !std::isfinite(x(0, i))) continue;
      const double value = Clamped(x(0, i));
      const double z = ClippedZ(value - v.expected, v.scale), near_z = ClippedZ(value - r.near_level, v.near_scale);
      out->z(i) = std::copysign(std::min(std::abs(z), std::abs(near_z)), z);
      out->tail_probability(i) =
          std::max(r.tail.Probability(std::abs(z), shape_), r.near_tail.Probability(std::abs(near_z), shape_));
    }
  }

  void Update(const Values& x, const SeriesMask& mask) override {
    for (int64_t i = 0; i < series(); ++i) {
      Record& r = *table_.at(i);
      if (mask(i) && std::isfinite(x(0, i))) Learn(Clamped(x(0, i)), &r);
      if (r.learned > 0) ++r.ticks;
    }
  }

 private:
  struct View {
    int hour;
    bool seasonal;
    double floor, expected, scale, near_scale;
  };

  View See(const Record& r) const {
    View v;
    const double hours = r.ticks * hours_a_tick_;
    v.hour = static_cast<int>(static_cast<uint32_t>(std::min(hours, 4e9)) % kHours);
    v.seasonal = hours > kHours && r.variance < kProfileGate * r.plain_variance;
    v.floor = std::max(floor_, kRangeShare * (r.high - r.low));
    v.expected = r.level + (v.seasonal ? r.profile[v.hour] : 0.0f);
    v.scale = std::max(std::sqrt(v.seasonal ? r.variance : r.plain_variance), v.floor);
    v.near_scale = std::max(std::sqrt(r.near_variance), v.floor);
    return v;
  }

  // One over the values of this hour so far, as if none had been missing, until that is the least.
  double ProfileGain(uint32_t ticks) const {
    const double hours = ticks * hours_a_tick_;
    if (hours >= profile_settled_) return profile_gain_;
    const double visits = std::floor(hours / kHours) + hours - std::floor(hours);
    return std::max(profile_gain_, 1.0 / (visits / hours_a_tick_ + 3.0));
  }

  void Begin(double x, Record* r) const {
    r->level = r->near_level = r->low = r->high = x;
    r->tail = r->near_tail = CompactTail::Of(Tail::Prior(shape_));
    r->learned = 1;
  }

  void Learn(double x, Record* r) const {
    if (r->learned == 0) return Begin(x, r);
    const View v = See(*r);
    const bool settling = gain_.Settling(r->learned);
    const double error = x - v.expected, plain = x - r->level, seasonal = plain - r->profile[v.hour], near = x - r->near_level;
    if (!settling) {
      const double gain = gain_.OfTail(r->learned);
      r->tail.Learn(std::abs(ClippedZ(error, v.scale)), gain);
      r->near_tail.Learn(std::abs(ClippedZ(near, v.near_scale)), gain);
    }
    const double gain = gain_.At(r->learned), near_gain = near_gain_.At(r->learned);
    const double seasonal_error = Winsorised(seasonal, std::max(std::sqrt(r->variance), v.floor));
    if (!settling) {
      const double moved = r->profile[v.hour] + ProfileGain(r->ticks) * kProfileGain * seasonal_error;
      r->profile[v.hour] = static_cast<float>(std::clamp(moved, -kMostProfile, kMostProfile));
    }
    r->level += gain * Winsorised(error, v.scale);
    Spread(seasonal_error, gain, &r->variance);
    Spread(Winsorised(plain, std::max(std::sqrt(r->plain_variance), v.floor)), gain, &r->plain_variance);
    const double near_error = Winsorised(near, v.near_scale);
    r->near_level += near_gain * near_error;
    Spread(near_error, near_gain, &r->near_variance);
    const double forget = kRangeForgets * gain_.least();
    r->low = std::min(r->low + forget * (r->level - r->low), x);
    r->high = std::max(r->high + forget * (r->level - r->high), x);
    ++r->learned;
  }

  double floor_, shape_, warm_up_;
  Gain gain_, near_gain_;
  double hours_a_tick_, profile_gain_, profile_settled_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<SeasonalLevel>(options); }

}  // namespace outlier::models::seasonal_level
