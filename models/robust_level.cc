#include "models/robust_level.h"

#include <algorithm>
#include <cmath>

#include "models/series_model.h"

namespace outlier::models {

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

namespace robust_level {
namespace {

class RobustLevel final : public SeriesModel<RobustLevel> {
 public:
  explicit RobustLevel(const Options& options) : prior_(options.prior), baseline_("robust_level", 1, TicksOf(options)) {}
  std::string_view name() const override { return "robust_level"; }
  int width() const override { return 1; }
  int64_t series() const override { return baseline_.series(); }
  void Resize(int64_t series) override { baseline_.Resize(series); }
  void Forget(int64_t series) override { baseline_.Forget(series); }
  void Adopt(int64_t from, int64_t to) override { baseline_.Copy(from, to); }
  int64_t state_bytes_per_series() const override { return baseline_.bytes_per_series(); }
  void Save(std::string* out) const override { baseline_.Save(out); }
  bool Load(std::string_view bytes) override {
    // The table takes its bytes from the front; a rest means that something else wrote them.
    Baseline loaded = baseline_;
    if (!loaded.Load(&bytes) || !bytes.empty()) return false;
    baseline_ = std::move(loaded);
    return true;
  }

 private:
  friend SeriesModel;
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    Tell(i, Seen(i, x, mask) ? baseline_.Judge(i, x(0, i), Floor(i)) : baseline_.Idle(i, Floor(i)), out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    if (Seen(i, x, mask)) baseline_.Learn(i, x(0, i), Floor(i));
  }
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    Tell(i, Seen(i, x, mask) ? baseline_.Step(i, x(0, i), Floor(i)) : baseline_.Idle(i, Floor(i)), out);
  }
  static bool Seen(int64_t i, const Values& x, const SeriesMask& mask) { return mask(i) && std::isfinite(x(0, i)); }
  static void Tell(int64_t i, const Judgement& j, Assessment* out) {
    out->tail_probability(i) = j.tail_probability;
    out->z(i) = j.z;
    out->ready(i) = j.ready;
    out->Expect(i, j.expected, j.lower, j.upper);
  }

  double Floor(int64_t i) const { return std::max(prior_.scale_floor, prior_.relative_floor * baseline_.magnitude(i)); }
  Prior prior_;
  Baseline baseline_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<RobustLevel>(options); }

}  // namespace robust_level
}  // namespace outlier::models
