#include "models/step.h"

#include <algorithm>
#include <cmath>

#include "models/compact_tail.h"
#include "models/record_table.h"
#include "models/table_model.h"
#include "models/winsor.h"

namespace outlier::models::step {
namespace {

constexpr double kLargestShare = 0.03;  // least scale as a share of the largest difference
constexpr double kLargestForgets = 0.3; // times the rate of the scale
constexpr double kMostLargest = 1e38;   // single precision

struct Record {
  double previous, variance;
  float largest;
  CompactTail tail;
  uint32_t has;      // 1: `previous` is of the tick before
  uint32_t learned;  // differences
};
static_assert(sizeof(Record) == 48, "no padding: the bytes are saved");

bool IsFinite(const Record& r) {
  return std::isfinite(r.previous) && std::isfinite(r.variance) && std::isfinite(r.largest) && IsFinite(r.tail);
}

class Change final : public TableModel<RecordTable<Record>> {
 public:
  explicit Change(const Options& options)
      : TableModel(RecordTable<Record>("step", 1)),
        floor_(options.prior.scale_floor),
        shape_(options.prior.tail_shape),
        warm_up_(std::max(2.0, std::ceil(options.warm_up_seconds / options.tick_seconds))),
        gain_(options.half_life_seconds / options.tick_seconds, warm_up_) {}

  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const override {
    for (int64_t i = 0; i < series(); ++i) {
      const Record& r = *table_.at(i);
      const double scale = Scale(r), width = scale * r.tail.hundredth;
      out->z(i) = 0.0;
      out->tail_probability(i) = 1.0;
      out->expected(i) = r.previous;
      out->lower(i) = r.previous - width;
      out->upper(i) = r.previous + width;
      out->rate(i) = 0.0;
      out->ready(i) = r.learned >= warm_up_;
      if (!out->ready(i) || r.has == 0 || !mask(i) || !std::isfinite(x(0, i))) continue;
      out->z(i) = ClippedZ(Clamped(x(0, i)) - r.previous, scale);
      out->tail_probability(i) = r.tail.Probability(std::abs(out->z(i)), shape_);
    }
  }

  void Update(const Values& x, const SeriesMask& mask) override {
    for (int64_t i = 0; i < series(); ++i) {
      Record& r = *table_.at(i);
      if (!mask(i) || !std::isfinite(x(0, i))) {
        r.has = 0;
        continue;
      }
      const double value = Clamped(x(0, i));
      if (r.has != 0) Learn(value - r.previous, &r);
      r.previous = value;
      r.has = 1;
    }
  }

 private:
  double Scale(const Record& r) const {
    return std::max({std::sqrt(r.variance), floor_, kLargestShare * static_cast<double>(r.largest)});
  }

  void Learn(double difference, Record* r) const {
    const double scale = Scale(*r);
    if (r->learned == 0) r->tail = CompactTail::Of(Tail::Prior(shape_));
    if (!gain_.Settling(r->learned)) r->tail.Learn(std::abs(ClippedZ(difference, scale)), gain_.OfTail(r->learned));
    Spread(Winsorised(difference, scale), gain_.At(r->learned), &r->variance);
    const double kept = r->largest * (1.0 - kLargestForgets * gain_.least());
    r->largest = static_cast<float>(std::min(std::max(kept, std::abs(difference)), kMostLargest));
    ++r->learned;
  }

  double floor_, shape_, warm_up_;
  Gain gain_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Change>(options); }

}  // namespace outlier::models::step
