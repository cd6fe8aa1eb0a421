#include "models/held_record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>

#include "models/lanes.h"
#include "models/series_model.h"
#include "models/tail.h"
#include "models/two_part_model.h"

namespace outlier::models::held_record {
namespace {

constexpr int kHeldMinutes = 5, kHeldTens = 2, kTensBefore = 3, kTens = 7, kLargest = 8;
constexpr double kMinuteSeconds = 60.0;
constexpr uint32_t kMostParts = 65535;
constexpr int32_t kMinutesOfTen = 10, kMinutesOfHour = 60;
constexpr int32_t kLeastMinutes = kTens * kMinutesOfTen;  // from which every statistic exists
constexpr int32_t kFillMinutes = 60;   // after a break: caches fill, and that no hour before saw it says nothing
constexpr uint32_t kLeastHours = 23, kWeekHours = 168;
constexpr float kBeforeGain = 0.1f;    // a minute, of the level before
constexpr double kZ = 7.0 / 8.0;       // eight spreads beyond is what the slow clocks' seven are
constexpr double kFloorShare = 0.5;    // of the scale floors: what was held is quieter than a value
constexpr double kMost = 1e30;         // squares of what single precision holds do not matter, differences do

enum Statistic { kLevel, kRise, kSlowRise, kStatistics };

// All that a tick touches between two minutes.
struct Open {
  double sum;                // of the values of the minute under way
  float z;                   // that stands
  uint16_t values, ready;    // in the minute under way; 1: one has ended
};
struct OpenBlock {
  WideLanes sum;
  Lanes z;
  LaneCounts state;   // values, and `ready` above kMostParts

  Open Get(int lane) const { return {sum.at(lane), z[lane], static_cast<uint16_t>(state[lane]), static_cast<uint16_t>(state[lane] >> 16)}; }
  void Put(int lane, const Open& o) {
    sum.Set(lane, o.sum);
    z[lane] = o.z;
    state[lane] = o.values | static_cast<uint32_t>(o.ready) << 16;
  }
};
struct Maxima {
  float highest;             // of the hour under way
  float largest[kLargest];   // of hours, descending
};
struct Past {
  float minutes[kHeldMinutes];  // means, newest first
  float before;                 // level before those
  float tens[kTens];            // means of ten minutes, newest first
  float sum;                    // of minutes, in the ten under way
  Maxima maxima[kStatistics];
  int32_t closed;               // minutes; below 0 after a break
  uint32_t hours;               // closed ones
};
static_assert(sizeof(Open) == 16 && sizeof(Past) == 14 * 4 + kStatistics * sizeof(Maxima) + 8, "no padding: the bytes are saved");

bool IsFinite(const Open& o) { return std::isfinite(o.sum) && std::isfinite(o.z); }
bool IsFinite(const Past& p) {
  bool finite = std::isfinite(p.before) && std::isfinite(p.sum) && p.closed >= -kFillMinutes;
  for (const float v : p.minutes) finite &= std::isfinite(v);
  for (const float v : p.tens) finite &= std::isfinite(v);
  for (const Maxima& m : p.maxima) {
    finite &= std::isfinite(m.highest);
    for (const float v : m.largest) finite &= std::isfinite(v);
  }
  return finite;
}

template <size_t n>
void Push(float value, float (&ring)[n]) {
  std::copy_backward(ring, ring + n - 1, ring + n);
  ring[0] = value;
}

class HeldRecord final : public SeriesModel<HeldRecord, TwoPartModel<Open, OpenBlock, Past>> {
 public:
  explicit HeldRecord(const Options& options)
      : SeriesModel(BlockTable<Open, OpenBlock>("held_record", 1), RecordTable<Past>("held_record.past", 1)),
        prior_(options.prior),
        parts_(static_cast<uint16_t>(std::clamp(std::round(kMinuteSeconds / options.tick_seconds), 1.0, double{kMostParts}))) {}
  void Adopt(int64_t from, int64_t to) override {
    TwoPartModel::Adopt(from, to);
    BeginAnew(to);
  }
  // What was held before nobody watched does not lie next to what follows.
  void Skip(int64_t) override {
    for (int64_t i = 0; i < series(); ++i) BeginAnew(i);
  }

 private:
  friend SeriesModel;
  OUTLIER_INLINE void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const Open o = open_.Get(i);
    const bool ready = o.ready != 0, judged = ready && mask.data()[i] && std::isfinite(x.data()[i * x.outerStride()]);
    const double z = judged ? o.z : 0.0;
    out->ready.data()[i] = ready;
    out->z.data()[i] = z;
    if (out->Wants(z)) TellOne(i, z, judged, out);
  }
  [[gnu::noinline]] void TellOne(int64_t i, double z, bool judged, Assessment* out) const {
    const Past& p = *past_.at(i);
    out->tail_probability(i) = judged && z > 0.0 ? std::max(std::pow(1.0 + z / kZ / (kLargest - 1), 1 - kLargest) / (p.hours + 1.0), kLeastProbability) : 1.0;
    const Maxima& level = p.maxima[kLevel];
    if (out->wants_expected()) out->Expect(i, level.largest[0], std::min(p.before, level.largest[0]), level.largest[0] + Spread(p, kLevel));
  }

  OUTLIER_INLINE void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    const double value = x.data()[i * x.outerStride()];
    if (!mask.data()[i] || !std::isfinite(value)) return;
    Open o = open_.Get(i);
    o.sum += std::clamp(value, -kMost, kMost);
    if (++o.values >= parts_) EndMinute(past_.at(i), &o);
    open_.Put(i, o);
  }

  // Ticks of four series that are all observed, end no minute and have nothing to tell; or of which none is observed.
  OUTLIER_INLINE bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out) {
    const int64_t stride = x.outerStride();
    const WideLanes value = WideLanes::From(x.data() + first * stride, stride);
    OpenBlock& b = open_.block(first);
    const LaneMask ready = b.state > kMostParts;
    const Lanes z = Where(ready, b.z);
    if (AllAbsent(mask, first) && out->notable > 0.0) {
      Tell(first, Lanes{}, ready, out);
      return true;
    }
    const LaneMask odd = ((b.state & kMostParts) >= parts_ - 1u) | (Abs(z) >= static_cast<float>(kSurelyLess * out->notable));
    if (!AllPresent(mask, first) || !value.finite() || Any(odd)) return false;
    Tell(first, z, ready, out);
    b.sum = b.sum + value.Within(kMost);
    b.state += 1;
    return true;
  }

  [[gnu::noinline]] void EndMinute(Past* p, Open* o) const {
    const float mean = static_cast<float>(o->sum / o->values);
    o->sum = 0.0;
    o->values = 0;
    o->z = 0.0f;
    o->ready = 1;
    Learn(mean, p);
    if (p->closed < kLeastMinutes) return;
    const bool begins = (p->closed - kLeastMinutes) % kMinutesOfHour == 0, ends = (p->closed - kLeastMinutes) % kMinutesOfHour == kMinutesOfHour - 1;
    const auto held = Held(*p);
    for (int s = 0; s < kStatistics; ++s) {
      Maxima& m = p->maxima[s];
      m.highest = begins ? held[s] : std::max(m.highest, held[s]);
      if (p->hours >= kLeastHours) o->z = std::max(o->z, static_cast<float>(std::min(kZ * (held[s] - m.largest[0]) / Spread(*p, s), kMostZ)));
      if (ends) EndHour(p->hours, &m);
    }
    if (ends) ++p->hours;
  }

  static void Learn(float mean, Past* p) {
    if (p->closed < kHeldMinutes) {
      p->before = p->closed <= 0 ? mean : p->before;
    } else {
      p->before += kBeforeGain * (p->minutes[kHeldMinutes - 1] - p->before);
    }
    Push(mean, p->minutes);
    p->sum += mean;
    if (++p->closed % kMinutesOfTen != 0) return;
    Push(p->sum / kMinutesOfTen, p->tens);
    p->sum = 0.0f;
  }

  static std::array<float, kStatistics> Held(const Past& p) {
    const float level = *std::min_element(std::begin(p.minutes), std::end(p.minutes));
    const float slow = *std::min_element(p.tens, p.tens + kHeldTens);
    const float hour_before = std::accumulate(p.tens + kTens - kTensBefore, p.tens + kTens, 0.0f) / kTensBefore;
    return {level, level - p.before, slow - hour_before};
  }

  static void EndHour(uint32_t hours, Maxima* m) {
    const size_t known = std::min<size_t>(hours, kLargest);
    if (known == kLargest && hours % kWeekHours == 0) {  // the largest has been kept for its time
      std::copy(m->largest + 1, m->largest + kLargest, m->largest);
    }
    float* const end = m->largest + known;
    float* const place = std::lower_bound(m->largest, end, m->highest, std::greater<>());
    if (place == m->largest + kLargest) return;
    std::copy_backward(place, std::min(end, m->largest + kLargest - 1), std::min(end + 1, m->largest + kLargest));
    *place = m->highest;
  }

  double Spread(const Past& p, int statistic) const {
    const auto& largest = p.maxima[statistic].largest;
    double excess = 0.0;
    for (const float v : largest) excess += (static_cast<double>(v) - largest[kLargest - 1]) / (kLargest - 1);
    const double level = std::abs(static_cast<double>(p.maxima[kLevel].largest[0]));
    return std::max(excess, kFloorShare * std::max(prior_.scale_floor, prior_.relative_floor * level));
  }

  // Of what lies together in time nothing is known yet; what was held at most still is.
  void BeginAnew(int64_t i) {
    Open o = open_.Get(i);
    o.sum = 0.0;
    o.values = 0;
    o.z = 0.0f;
    open_.Put(i, o);
    past_.at(i)->closed = past_.at(i)->hours > 0 ? -kFillMinutes : 0;
    past_.at(i)->sum = 0.0f;
  }

  Prior prior_;
  uint16_t parts_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<HeldRecord>(options); }

}  // namespace outlier::models::held_record
