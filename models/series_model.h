// SeriesModel: the frame of a family that goes through its series one by one; a Step does so once, while what it needs is at hand.
//
// Family has, private with this class as friend:
//   void ScoreOne(int64_t series, const Values& x, const SeriesMask& mask, Assessment* out) const
//   void UpdateOne(int64_t series, const Values& x, const SeriesMask& mask)
// and may have StepOne, where both need the same.
#pragma once
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
    for (int64_t i = 0, all = this->series(); i < all; ++i) static_cast<Family&>(*this).StepOne(i, x, mask, out);
  }

 private:
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    static_cast<const Family&>(*this).ScoreOne(i, x, mask, out);
    static_cast<Family&>(*this).UpdateOne(i, x, mask);
  }
};

}  // namespace outlier::models
