#include "models/robust_level.h"

#include <algorithm>
#include <cmath>

#include "models/baseline.h"
#include "models/lane_model.h"
#include "models/series_table.h"

OUTLIER_LANES_BEGIN
namespace robust_level {
namespace {

using namespace baseline_law;

constexpr float kNoted = 1e-6f;  // the least weight that single precision does not lose: a held excursion's may be less

struct alignas(sizeof(Lanes)) Block {
  static constexpr int kWide = 1, kSeldom = 0, kBits = 0;
  WideLanes level;
  Lanes age;               // values; beyond 2^24 no weight depends on it
  Lanes spread, magnitude; // long-run mean of |x|
  LaneTail tail;
  Lanes below, above;      // how far the seen range reaches from the level
  Lanes hold, extreme;     // of the excursion under way: values, and how far from the level it went
};

class RobustLevel final : public LaneModel<RobustLevel, Block> {
 public:
  explicit RobustLevel(const Options& options) : RobustLevel(options, TicksOf(options)) {}

  // Also what SeriesTable saved of version 1: one double a field, with the range and the extreme where they lie.
  bool Load(std::string_view bytes) override {
    if (LaneModel::Load(bytes)) return true;
    SeriesTable old("robust_level", 1, kOldFields);
    if (!old.Load(&bytes) || !bytes.empty()) return false;
    LaneTable<Block> loaded("robust_level", 2);
    loaded.Resize(old.series());
    for (int64_t i = 0; i < old.series(); ++i) Take(old, i, &loaded.block(i));
    table_ = std::move(loaded);
    return true;
  }

 private:
  friend LaneModel;
  RobustLevel(const Options& options, const BaselineOptions& ticks)
      : LaneModel(LaneTable<Block>("robust_level", 2)),
        floor_(Max(AllLanes(static_cast<float>(options.prior.scale_floor)), kLeastScale)),
        relative_floor_(AllLanes(static_cast<float>(options.prior.relative_floor))),
        shape_(options.prior.tail_shape),
        warm_up_(WarmUp(options)),
        ready_(options.judge_seconds < 0.0 ? warm_up_ : AllLanes(static_cast<float>(std::ceil(options.judge_seconds / options.tick_seconds)))),
        settle_(AllLanes(static_cast<float>(ticks.settle_ticks))),
        cold_(AllLanes(static_cast<float>(ticks.cold_ticks))),
        teach_(AllLanes(static_cast<float>(ticks.teach_ticks))),
        forgive_(AllLanes(static_cast<float>(ticks.forgive_ticks))),
        relearn_(AllLanes(static_cast<float>(ticks.relearn_ticks))),
        range_keeps_(AllLanes(static_cast<float>(1.0 - RangeForgets(ticks.cold_ticks)))),
        gain_(options.half_life_seconds / options.tick_seconds, warm_up_[0]) {}

  struct View {
    Lanes error, limited;  // limited: z, by what was seen while young
    Innovation innovation;
  };

  OUTLIER_INLINE View See(const Block& b, const WideLanes& x) const {
    View v;
    v.error = (x - b.level).Narrow();
    v.innovation = Innovation::Of(v.error, b.spread, Max(relative_floor_ * b.magnitude, floor_));
    const Lanes z = v.innovation.z, margin = static_cast<float>(kMargin) * (b.above + b.below);
    const Lanes beyond = Max(Max(v.error - b.above, -v.error - b.below) - margin, 0.0f) / v.innovation.scale;
    const Lanes most = beyond + Min(b.tail.hundredth, static_cast<float>(kInside)) * cold_ / Max(cold_ - b.age, 1.0f);
    v.limited = b.age < cold_ ? Min(Max(z, -most), most) : z;
    return v;
  }

  OUTLIER_INLINE LaneMask Ready(const Block& b) const { return b.age >= ready_; }
  OUTLIER_INLINE Lanes Z(const Block&, const View& v) const { return v.limited; }
  OUTLIER_INLINE Rarity RarityOf(const Block& b, const View& v) const {
    const Lanes a = Abs(v.limited);
    return {LaneTail::Probability(b.tail.Deviate(a)), a > b.tail.hundredth};
  }
  OUTLIER_INLINE Interval Expect(const Block& b, const View& v) const {
    const Lanes width = v.innovation.scale * b.tail.hundredth;
    const LaneMask cold = b.age < cold_;
    return {b.level, b.level - WideLanes::Of(cold ? Max(width, b.below) : width), b.level + WideLanes::Of(cold ? Max(width, b.above) : width)};
  }
  double FarProbability(const Block& b, const View& v, int lane) const {
    return b.tail.At(lane).Probability(std::abs(v.limited[lane]), shape_);
  }

  OUTLIER_INLINE LaneMask Knows(const Block& b) const { return b.age > 0.0f; }

  OUTLIER_INLINE void Learn(const WideLanes& x, const View& v, Block* b, Seldom*) const {
    const LaneMask settling = b->age < settle_;
    const LaneMask excursion = Ready(*b) & (Abs(v.limited) > Max(b->tail.hundredth, static_cast<float>(kExcursion)));
    const LaneMask held = excursion & (b->hold >= teach_);
    b->tail.Learn(Abs(v.innovation.z), Where(~held, gain_.OfTail(b->age)));
    const Lanes full = Max(gain_.OfYoung(b->age), gain_.least()), gain = held ? static_cast<float>(kSuspectWeight) * full : full;
    const Lanes scale = v.innovation.scale, size = Abs(x.Narrow());
    const Lanes moved = gain * v.innovation.Winsorised(), error = v.error - moved;
    b->level = b->level + WideLanes::Of(moved);
    b->spread = v.innovation.SpreadBy(held ? Where(gain >= kNoted, gain) : Max(gain, LaneTail::kLeastGain));
    b->magnitude += gain * (Min(size, b->magnitude + 3.0f * scale) - b->magnitude);
    LearnRange(settling, excursion, moved, error, b);
    b->age += 1.0f;
    const LaneMask relearns = b->hold >= relearn_;
    if (Any(relearns)) [[unlikely]] {
      for (int lane = 0; lane < kLanes; ++lane) {
        if (relearns[lane] != 0) Relearn(lane, x.at(lane), b);
      }
    }
  }

  // `error`: from the level as it is now, which has moved by `moved`; the range stays where it is.
  OUTLIER_INLINE void LearnRange(LaneMask settling, LaneMask excursion, Lanes moved, Lanes error, Block* b) const {
    const Lanes below = b->below + moved, above = b->above - moved, extreme = b->extreme - moved;
    // An excursion that was short and has ended was life.
    const LaneMask life = (b->hold > 0.0f) & (b->hold < forgive_);
    const Lanes calm_below = Max((life ? Max(below, -extreme) : below) * range_keeps_, -error);
    const Lanes calm_above = Max((life ? Max(above, extreme) : above) * range_keeps_, error);
    b->below = settling ? -error : excursion ? below : WithoutDust(calm_below);
    b->above = settling ? error : excursion ? above : WithoutDust(calm_above);
    const LaneMask further = (b->hold == 0.0f) | (Abs(error) > Abs(extreme));
    b->extreme = Where(excursion, further ? error : extreme);
    b->hold = Where(excursion, b->hold + 1.0f);
  }

  // The range of a series that became flat fades for ever, and arithmetic on denormal numbers is slow.
  OUTLIER_INLINE static Lanes WithoutDust(Lanes reach) { return Where(Abs(reach) >= kLeastScale, reach); }

  void Begin(int lane, double x, Block* b) const {
    b->age[lane] = 1.0f;
    b->level.Set(lane, x);
    b->magnitude[lane] = static_cast<float>(std::abs(x));
    b->tail.Begin(lane, Tail::Prior(shape_));
  }
  // The value that held is the new normal: its level is learned from here, the old spread and tail are the prior.
  void Relearn(int lane, double x, Block* b) const {
    b->age[lane] = settle_[lane] + 1.0f;
    b->level.Set(lane, x);
    b->below[lane] = b->above[lane] = b->hold[lane] = b->extreme[lane] = 0.0f;
    b->magnitude[lane] = static_cast<float>(std::abs(x));
  }
  void Miss(int, Block*, Seldom*) const {}

  enum OldField { kAge, kLevel, kVariance, kMagnitude, kHalf, kTenth, kHundredth, kExcess, kExcessSquare, kLow, kHigh, kHold, kExtreme, kOldFields };
  static void Take(const SeriesTable& old, int64_t i, Block* b) {
    const int lane = static_cast<int>(i % kLanes);
    const auto number = [&](OldField field) { return std::clamp(old.at(field, i), -kMostValue, kMostValue); };
    const auto from_level = [&](OldField field) { return static_cast<float>(number(field) - number(kLevel)); };
    b->age[lane] = static_cast<float>(number(kAge));
    if (b->age[lane] <= 0.0f) return;
    b->level.Set(lane, number(kLevel));
    b->spread[lane] = static_cast<float>(std::min(std::sqrt(std::max(old.at(kVariance, i), 0.0)), kMostValue));
    b->magnitude[lane] = static_cast<float>(number(kMagnitude));
    b->tail.Begin(lane, {number(kHalf), number(kTenth), number(kHundredth), number(kExcess), number(kExcessSquare)});
    b->below[lane] = -from_level(kLow);
    b->above[lane] = from_level(kHigh);
    b->hold[lane] = static_cast<float>(number(kHold));
    b->extreme[lane] = b->hold[lane] > 0.0f ? from_level(kExtreme) : 0.0f;
  }

  Lanes floor_, relative_floor_;
  double shape_;
  Lanes warm_up_, ready_, settle_, cold_, teach_, forgive_, relearn_, range_keeps_;
  Gain gain_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<RobustLevel>(options); }

}  // namespace robust_level
OUTLIER_LANES_END
