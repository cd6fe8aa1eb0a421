#include "models/difference.h"

#include <algorithm>
#include <cmath>

#include "models/robust_level.h"
#include "models/series_model.h"

namespace outlier::models::difference {
namespace {

constexpr double kMostValue = 1e100;

class Difference final : public SeriesModel<Difference> {
 public:
  explicit Difference(const Options& options)
      : prior_(options.prior), state_{Baseline("difference", 1, TicksOf(options)), SeriesTable("difference.previous", 1, kFields)},
        alpha_(TicksOf(options).alpha) {}
  std::string_view name() const override { return "difference"; }
  int width() const override { return 1; }
  int64_t series() const override { return state_.baseline.series(); }
  void Resize(int64_t series) override {
    state_.baseline.Resize(series);
    state_.previous.Resize(series);
  }
  void Forget(int64_t series) override {
    state_.baseline.Forget(series);
    state_.previous.Forget(series);
  }
  void Adopt(int64_t from, int64_t to) override {
    state_.baseline.Copy(from, to);
    state_.previous.Copy(from, to);
  }
  int64_t state_bytes_per_series() const override {
    return state_.baseline.bytes_per_series() + state_.previous.bytes_per_series();
  }
  void Save(std::string* out) const override {
    state_.baseline.Save(out);
    state_.previous.Save(out);
  }
  bool Load(std::string_view bytes) override {
    State loaded = state_;
    if (!loaded.baseline.Load(&bytes) || !loaded.previous.Load(&bytes) || !bytes.empty() ||
        loaded.baseline.series() != loaded.previous.series()) {
      return false;
    }
    state_ = std::move(loaded);
    return true;
  }

 private:
  friend SeriesModel;
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const double floor = Floor(i);
    Tell(i, Differs(i, x, mask) ? state_.baseline.Judge(i, Change(i, x), floor) : state_.baseline.Idle(i, floor), out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    if (Differs(i, x, mask)) state_.baseline.Learn(i, Change(i, x), Floor(i));
    Remember(i, x, mask);
  }
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    const double floor = Floor(i);
    Tell(i, Differs(i, x, mask) ? state_.baseline.Step(i, Change(i, x), floor) : state_.baseline.Idle(i, floor), out);
    Remember(i, x, mask);
  }

  static bool Seen(int64_t i, const Values& x, const SeriesMask& mask) { return mask(i) && std::isfinite(x(0, i)); }
  bool Differs(int64_t i, const Values& x, const SeriesMask& mask) const { return Seen(i, x, mask) && state_.previous.at(kHas, i) > 0; }
  double Change(int64_t i, const Values& x) const { return Clamp(x(0, i)) - state_.previous.at(kValue, i); }
  void Tell(int64_t i, const Judgement& j, Assessment* out) const {
    const double previous = state_.previous.at(kValue, i);
    out->tail_probability(i) = j.tail_probability;
    out->z(i) = j.z;
    out->ready(i) = j.ready;
    out->Expect(i, previous + j.expected, previous + j.lower, previous + j.upper);
  }
  void Remember(int64_t i, const Values& x, const SeriesMask& mask) {
    double& has = state_.previous.at(kHas, i);
    if (!Seen(i, x, mask)) {
      has = 0;
      return;
    }
    const double value = Clamp(x(0, i));
    double& count = state_.previous.at(kCount, i);
    double& magnitude = state_.previous.at(kMagnitude, i);
    count += 1;
    magnitude += std::max(alpha_, 1.0 / count) * (std::abs(value) - magnitude);
    state_.previous.at(kValue, i) = value;
    has = 1;
  }

  enum Field { kHas, kValue, kMagnitude, kCount, kFields };
  struct State {
    Baseline baseline;
    SeriesTable previous;
  };
  static double Clamp(double x) { return std::clamp(x, -kMostValue, kMostValue); }
  double Floor(int64_t i) const { return std::max(prior_.scale_floor, prior_.relative_floor * state_.previous.at(kMagnitude, i)); }
  Prior prior_;
  State state_;
  double alpha_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Difference>(options); }

}  // namespace outlier::models::difference
