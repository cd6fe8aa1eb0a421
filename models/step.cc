#include "models/step.h"

#include <algorithm>
#include <cmath>

#include "models/lane_model.h"
#include "models/seen_peak.h"

OUTLIER_LANES_BEGIN
namespace step {
namespace {

constexpr float kLargestShare = 0.03f;   // least scale as a share of the largest difference
constexpr float kLargestForgets = 0.3f;  // times the rate of the scale

struct alignas(sizeof(Lanes)) Block {
  static constexpr int kWide = 1, kSeldom = 0, kBits = 0;
  WideLanes previous;
  Lanes has;      // 1: `previous` is of the tick before
  Lanes learned;  // differences; beyond 2^24 no weight depends on it
  Lanes spread, largest;
  SeenPeak peak;  // of the differences
  LaneTail tail;
};

class Change final : public LaneModel<Change, Block> {
 public:
  explicit Change(const Options& options)
      : LaneModel(LaneTable<Block>("step", 3)),
        floor_(Max(AllLanes(static_cast<float>(options.prior.scale_floor)), kLeastScale)),
        shape_(options.prior.tail_shape),
        warm_up_(WarmUp(options)),
        gain_(options.half_life_seconds / options.tick_seconds, warm_up_[0]),
        largest_keeps_(1.0f - Max(kLargestForgets * gain_.least(), LaneTail::kLeastGain)) {}

 private:
  friend LaneModel;
  struct View {
    Lanes difference;
    Lanes floor;  // of a scale that teaches: without what is not believed yet
    Innovation innovation;
  };

  OUTLIER_INLINE View See(const Block& b, const WideLanes& x) const {
    const Lanes difference = (x - b.previous).Narrow(), floor = Max(kLargestShare * b.largest, floor_);
    return {difference, floor, Innovation::Of(difference, b.spread, Max(kLargestShare * b.peak.Fading(), floor))};
  }

  OUTLIER_INLINE LaneMask Ready(const Block& b) const { return b.learned >= warm_up_; }
  // Without a difference there is nothing to tell.
  OUTLIER_INLINE Lanes Z(const Block& b, const View& v) const { return Where(Knows(b), v.innovation.z); }
  OUTLIER_INLINE Rarity RarityOf(const Block& b, const View& v) const {
    const Lanes a = Abs(v.innovation.z);
    return {LaneTail::Probability(b.tail.Deviate(Where(Knows(b), a))), Knows(b) & (a > b.tail.hundredth)};
  }
  OUTLIER_INLINE Interval Expect(const Block& b, const View& v) const {
    const WideLanes width = WideLanes::Of(v.innovation.scale * b.tail.hundredth);
    return {b.previous, b.previous - width, b.previous + width};
  }
  double FarProbability(const Block& b, const View& v, int lane) const {
    return b.tail.At(lane).Probability(std::abs(v.innovation.z[lane]), shape_);
  }

  OUTLIER_INLINE LaneMask Knows(const Block& b) const { return b.has > 0.0f; }

  OUTLIER_INLINE void Learn(const WideLanes& x, const View& v, Block* b, Seldom*) const {
    b->tail.Learn(Abs(v.innovation.z), gain_.OfTail(b->learned));
    b->spread = Innovation::Of(v.difference, b->spread, v.floor).Spread(Max(gain_.OfYoung(b->learned), gain_.least()));
    const Lanes size = Abs(v.difference), largest = b->largest * largest_keeps_;
    b->largest = Max(Max(largest, Min(size, b->peak.Reach(b->spread, b->learned))), kLeastScale);
    b->peak.Learn(size, size > largest, largest_keeps_);
    b->learned += 1.0f;
    b->previous = x;
  }

  void Begin(int lane, double x, Block* b) const {
    b->previous.Set(lane, x);
    b->has[lane] = 1.0f;
    if (b->learned[lane] == 0.0f) b->tail.Begin(lane, Tail::Prior(shape_));
  }

  void Miss(int lane, Block* b, Seldom*) const { b->has[lane] = 0.0f; }

  Lanes floor_;
  double shape_;
  Lanes warm_up_;
  Gain gain_;
  Lanes largest_keeps_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Change>(options); }

}  // namespace step
OUTLIER_LANES_END
