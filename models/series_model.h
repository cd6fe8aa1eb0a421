// SeriesModel: the frame of a family that goes through its series one by one; a Step does so once, while what it needs is at hand.
//
// Family has, private with this class as friend:
//   void ScoreOne(int64_t series, const Values& x, const SeriesMask& mask, Assessment* out) const
//   void UpdateOne(int64_t series, const Values& x, const SeriesMask& mask)
// and may have
//   void StepOne(int64_t series, const Values& x, const SeriesMask& mask, Assessment* out)    where both need the same
//   bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out)
//     of the four series of a block, to the bit what StepOne does to each; false, and nothing done, where they are no four of a kind.
#pragma once
#include <algorithm>
#include <cstring>

#include "models/lanes.h"
#include "models/model.h"

namespace outlier::models {

template <class Family, class Base = Model>
class SeriesModel : public Base {
 public:
  using Base::Base;
  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const final {
    for (int64_t i = 0, all = this->series(); i < all; ++i) static_cast<const Family&>(*this).ScoreOne(i, x, mask, out);
  }
  void Update(const Values& x, const SeriesMask& mask) final {
    for (int64_t i = 0, all = this->series(); i < all; ++i) static_cast<Family&>(*this).UpdateOne(i, x, mask);
  }
  void Step(const Values& x, const SeriesMask& mask, Assessment* out) final {
    Family& family = static_cast<Family&>(*this);
    const int64_t all = this->series();
    for (int64_t first = 0; first < all; first += kLanes) {
      const int64_t end = std::min(first + kLanes, all);
      if (end - first == kLanes && family.StepFour(first, x, mask, out)) continue;
      for (int64_t i = first; i < end; ++i) family.StepOne(i, x, mask, out);
    }
  }

 protected:
  OUTLIER_INLINE static bool AllPresent(const SeriesMask& mask, int64_t first) {
    constexpr bool kAll[kLanes] = {true, true, true, true};
    return std::memcmp(mask.data() + first, kAll, sizeof kAll) == 0;
  }
  OUTLIER_INLINE static bool AllAbsent(const SeriesMask& mask, int64_t first) {
    constexpr bool kNone[kLanes] = {};
    return std::memcmp(mask.data() + first, kNone, sizeof kNone) == 0;
  }
  // Two judgements, of which none is wanted beyond z.
  OUTLIER_INLINE static void Tell(int64_t first, LanePair z, PairMask ready, Assessment* out) {
    double* to = out->z.data() + first;
    to[0] = z[0];
    to[1] = z[1];
    out->ready.data()[first] = ready[0] != 0;
    out->ready.data()[first + 1] = ready[1] != 0;
  }
  // Four such.
  OUTLIER_INLINE static void Tell(int64_t first, Lanes z, LaneMask ready, Assessment* out) {
    WideLanes::Of(z).To(out->z.data() + first);
    for (int lane = 0; lane < kLanes; ++lane) out->ready.data()[first + lane] = ready[lane] != 0;
  }
  // Times `notable`: |z| below that is not wanted, which is compared in single precision.
  static constexpr double kSurelyLess = 1.0 - 1e-6;

 private:
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    static_cast<const Family&>(*this).ScoreOne(i, x, mask, out);
    static_cast<Family&>(*this).UpdateOne(i, x, mask);
  }
  static bool StepFour(int64_t, const Values&, const SeriesMask&, Assessment*) { return false; }
};

}  // namespace outlier::models
