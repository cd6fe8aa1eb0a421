// LaneModel: the frame of a family that judges and learns four or eight series at once: goes through the blocks of a LaneTable, once for a Step,
// and cares for what is missing, new or beyond the last series.
//
// Family has, all const and without a branch that one lane decides for another:
//   View See(const Block&, const WideLanes& x)      what judging and learning both need; x is finite, within kMostValue
//   LaneMask Ready(const Block&)
//   Lanes Z(const Block&, const View&)
//   Rarity RarityOf(const Block&, const View&)
//   Interval Expect(const Block&, const View&)
//   double FarProbability(const Block&, const View&, int lane)   of a lane in Rarity::far
//   LaneMask Knows(const Block&)                    lanes that can learn by Learn; the others begin
//   void Learn(const WideLanes& x, const View&, Block*, Seldom*)
//   void Begin(int lane, double x, Block*)
//   void Miss(int lane, Block*, Seldom*)            of a lane without a value; keeps a fresh lane zero
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "models/lane_table.h"
#include "models/table_model.h"
#include "models/innovation.h"

OUTLIER_LANES_BEGIN

template <class Family, class Block>
class LaneModel : public TableModel<LaneTable<Block>> {
 public:
  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const final {
    const Columns columns(out);
    for (int64_t first = 0; first < table_.series(); first += kLanes) {
      const Block& block = table_.block(first);
      const Input in = Read(x, mask, first);
      Tell(block, family().See(block, in.x), in, first, columns);
    }
  }
  void Update(const Values& x, const SeriesMask& mask) final {
    for (int64_t first = 0; first < table_.series(); first += kLanes) {
      Block& block = table_.block(first);
      const Input in = Read(x, mask, first);
      Learn(family().See(block, in.x), in, &block, &table_.seldom(first));
    }
  }
  void Step(const Values& x, const SeriesMask& mask, Assessment* out) final {
    const Columns columns(out);
    for (int64_t first = 0; first < table_.series(); first += kLanes) {
      Block& block = table_.block(first);
      Fetch(table_.block(std::min(first + 2 * kLanes, table_.series() - 1)));
      const Input in = Read(x, mask, first);
      if (in.absent && columns.notable > 0.0f) {  // as the rest would do it
        Put(WideLanes{}, kLanes, columns.z + first);
        TellReady(family().Ready(block), kLanes, columns.ready + first);
        for (int lane = 0; lane < kLanes; ++lane) family().Miss(lane, &block, &table_.seldom(first));
        continue;
      }
      const auto view = family().See(block, in.x);
      Tell(block, view, in, first, columns);
      Learn(view, in, &block, &table_.seldom(first));
    }
  }

 protected:
  using Seldom = typename LaneTable<Block>::Seldom;
  struct Rarity {
    Lanes tail_probability;
    LaneMask far;  // the probability is less, and FarProbability says it
  };
  struct Interval {
    WideLanes expected, lower, upper;
  };
  using TableModel<LaneTable<Block>>::TableModel;
  using TableModel<LaneTable<Block>>::table_;

 private:
  struct Input {
    WideLanes x;
    LaneMask present;
    bool complete;  // all present
    bool absent;    // none of them
  };
  // A bool a lane, together.
  using Flags = std::conditional_t<kLanes == 8, uint64_t, uint32_t>;
  static constexpr Flags kAll = static_cast<Flags>(0x0101010101010101);
  const Family& family() const { return static_cast<const Family&>(*this); }

  OUTLIER_INLINE static void Fetch(const Block& block) {
    constexpr size_t kCacheLine = 64;
    for (size_t at = 0; at < sizeof(Block); at += kCacheLine) __builtin_prefetch(reinterpret_cast<const char*>(&block) + at);
  }
  OUTLIER_INLINE Input Read(const Values& x, const SeriesMask& mask, int64_t first) const {
    const int64_t stride = x.outerStride(), left = table_.series() - first;
    const double* value = x.data() + first * stride;
    const bool* wanted = mask.data() + first;
    if (left >= kLanes) [[likely]] {
      const WideLanes values = WideLanes::From(value, stride);
      Flags flags;
      std::memcpy(&flags, wanted, sizeof flags);
      if (values.finite() && flags == kAll) [[likely]] return {values.Within(kMostValue), LaneMask{} - 1, true, false};
      if (flags == 0) return {WideLanes{}, LaneMask{}, false, true};
    }
    return ReadSome(value, stride, wanted, left);
  }
  // Apart, because a lane that is chosen as the program runs keeps everything in memory.
  [[gnu::noinline]] static Input ReadSome(const double* value, int64_t stride, const bool* wanted, int64_t left) {
    Input in{};
    for (int lane = 0; lane < kLanes && lane < left; ++lane) {
      const double v = value[lane * stride];
      if (!wanted[lane] || !std::isfinite(v)) continue;
      in.present[lane] = -1;
      in.x.Set(lane, v);
    }
    in.x = in.x.Within(kMostValue);
    return in;
  }

  // Where an Assessment's columns lie: without this the compiler looks it up for every block.
  struct Columns {
    explicit Columns(Assessment* out)
        : tail_probability(out->tail_probability.data()), z(out->z.data()), expected(out->expected.data()), lower(out->lower.data()),
          upper(out->upper.data()), rate(out->rate.data()), ready(out->ready.data()), notable(static_cast<float>(out->notable)),
          wants_expected(out->wants_expected()) {}
    double *tail_probability, *z, *expected, *lower, *upper, *rate;
    bool* ready;
    float notable;
    bool wants_expected;
  };

  template <class View>
  OUTLIER_INLINE void Tell(const Block& block, const View& view, const Input& in, int64_t first, const Columns& out) const {
    const LaneMask ready = family().Ready(block), told = in.present & ready;
    const Lanes z = Where(told, family().Z(block, view));
    const int64_t left = table_.series() - first;
    Put(WideLanes::Of(z), left, out.z + first);
    TellReady(ready, left, out.ready + first);
    if (!Any(Abs(z) >= out.notable)) return;
    const Rarity rarity = family().RarityOf(block, view);
    const LaneMask far = told & rarity.far;
    Put(WideLanes::Of(told ? rarity.tail_probability : AllLanes(1.0f)), left, out.tail_probability + first);
    if (Any(far)) [[unlikely]] {
      for (int lane = 0; lane < kLanes; ++lane) {
        if (far[lane] != 0) out.tail_probability[first + lane] = family().FarProbability(block, view, lane);
      }
    }
    if (out.wants_expected) {
      const Interval interval = family().Expect(block, view);
      Put(interval.expected, left, out.expected + first);
      Put(interval.lower, left, out.lower + first);
      Put(interval.upper, left, out.upper + first);
      Put(WideLanes{}, left, out.rate + first);
    }
  }
  OUTLIER_INLINE static void TellReady(LaneMask ready, int64_t left, bool* out) {
    if (left >= kLanes && !Any(~ready)) [[likely]] {
      std::memset(out, true, kLanes);
    } else {
      for (int lane = 0; lane < kLanes && lane < left; ++lane) out[lane] = ready[lane] != 0;
    }
  }
  OUTLIER_INLINE static void Put(const WideLanes& values, int64_t left, double* out) {
    if (left >= kLanes) [[likely]] {
      values.To(out);
    } else {
      for (int lane = 0; lane < left; ++lane) out[lane] = values.at(lane);
    }
  }

  template <class View>
  OUTLIER_INLINE void Learn(const View& view, const Input& in, Block* block, Seldom* seldom) {
    const LaneMask taught = in.present & family().Knows(*block);
    if (!Any(~taught)) [[likely]] {
      family().Learn(in.x, view, block, seldom);
    } else {
      LearnSome(view, in, taught, block, seldom);
    }
  }
  template <class View>
  [[gnu::noinline]] void LearnSome(const View& view, const Input& in, LaneMask taught, Block* block, Seldom* seldom) {
    if (Any(taught)) {
      const Block before = *block;
      const Seldom seldom_before = *seldom;
      family().Learn(in.x, view, block, seldom);
      LaneTable<Block>::Undo(~taught, before, seldom_before, block, seldom);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (taught[lane] != 0) continue;
      if (in.present[lane] != 0) {
        family().Begin(lane, in.x.at(lane), block);
      } else {
        family().Miss(lane, block, seldom);
      }
    }
  }
};

OUTLIER_LANES_END
