#include "models/histogram_shape.h"

#include <algorithm>
#include <cmath>

#include "models/baseline.h"
#include "models/series_model.h"
#include "models/special.h"
#include "models/tail.h"

namespace outlier::models::histogram_shape {
namespace {

constexpr double kEnough = 20.0;          // observations for a judgement at once
constexpr double kFewEnough = 5.0;        // and after kPatience ticks
constexpr double kPatience = 5.0;         // ticks
constexpr double kTooLong = 30.0;         // ticks after which an unfinished window is dropped
constexpr double kPooled = 5.0;           // least expected count of a pooled bucket, or a quarter of a small window
constexpr double kLastPool = 1.0;         // least expected count of the pool at the slow end
constexpr double kOctavesPerBucket = 0.5;
constexpr double kLeastEffect = 0.25;     // octaves: noise that needs no explanation (19 % of latency)
constexpr double kMostWeight = 200.0;     // observations one window counts as, at most
constexpr double kSuspect = 4.0;          // |z| beyond which a window teaches nothing, until it has held
constexpr double kSmear = 0.02;           // pseudo-count of every bucket: nothing is impossible
constexpr double kCentral = 0.005;        // tail share outside lower and upper
constexpr double kInside = 2.5758293035489004;

class HistogramShape final : public SeriesModel<HistogramShape> {
 public:
  explicit HistogramShape(const Options& options)
      : width_(std::max(options.width, 2)), ticks_(TicksOf(options)), state_(width_, ticks_) {}
  std::string_view name() const override { return "histogram_shape"; }
  int width() const override { return width_; }
  int64_t series() const override { return state_.table.series(); }
  void Resize(int64_t series) override {
    state_.table.Resize(series);
    state_.distance.Resize(series);
    const int64_t old = state_.past.cols();
    for (Eigen::ArrayXXd* a : {&state_.past, &state_.window}) {
      a->conservativeResize(Eigen::NoChange, series);
      if (series > old) a->rightCols(series - old).setZero();
    }
  }
  void Forget(int64_t i) override {
    state_.table.Forget(i);
    state_.distance.Forget(i);
    state_.past.col(i).setZero();
    state_.window.col(i).setZero();
  }
  void Adopt(int64_t from, int64_t to) override {
    state_.table.Copy(from, to);
    state_.distance.Copy(from, to);
    state_.past.col(to) = state_.past.col(from);
    state_.window.col(to) = state_.window.col(from);
  }
  int64_t state_bytes_per_series() const override {
    return state_.table.bytes_per_series() + state_.distance.bytes_per_series() + 2 * width_ * static_cast<int64_t>(sizeof(double));
  }
  void Save(std::string* out) const override {
    state_.table.Save(out);
    state_.distance.Save(out);
    for (const Eigen::ArrayXXd* a : {&state_.past, &state_.window}) {
      out->append(reinterpret_cast<const char*>(a->data()), a->size() * sizeof(double));
    }
  }
  bool Load(std::string_view bytes) override;

 private:
  friend SeriesModel;
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const double counted = Ready(i) ? Counted(x, mask, i) : -1.0;
    Tell(i, counted >= 0.0 ? Judge(i, x, counted) : Verdict{}, out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    const double counted = Counted(x, mask, i);
    if (counted >= 0.0) Learn(i, x, Judge(i, x, counted));
  }
  void StepOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) {
    const double counted = Counted(x, mask, i);
    const Verdict v = counted >= 0.0 ? Judge(i, x, counted) : Verdict{};
    Tell(i, Ready(i) ? v : Verdict{}, out);
    if (counted >= 0.0) Learn(i, x, v);
  }

  struct Verdict {
    double p = 1.0, z = 0.0;
    bool complete = false;
    double octaves = 0.0, floor = kLeastEffect, dispersion = 1.0, g_probability = 1.0;
    double n = 0.0;      // observations of the window
  };
  void Tell(int64_t i, const Verdict& v, Assessment* out) const {
    out->z(i) = v.z;
    out->ready(i) = Ready(i);
    if (!out->Wants(v.z)) return;
    out->tail_probability(i) = v.p;
    if (!out->wants_expected()) return;
    const double total = state_.past.col(i).sum();
    out->Expect(i, Quantile(i, 0.5, total), Quantile(i, kCentral, total), Quantile(i, 1.0 - kCentral, total));
  }

  enum Field { kAge, kWindows, kMerged, kOverdispersion, kZ, kLogP, kHold, kFields };
  struct State {
    State(int width, const BaselineOptions& ticks)
        : table("histogram_shape", 1, kFields), distance("histogram_shape.distance", 1, Own(ticks)), past(width, 0), window(width, 0) {}
    static BaselineOptions Own(BaselineOptions ticks) {
      // Judged windows come slower than ticks; the model's own warm-up decides readiness.
      ticks.settle_ticks = 0;
      ticks.warm_up_ticks = 2;
      ticks.teach_ticks = 1;
      return ticks;
    }
    SeriesTable table;
    Baseline distance;
    Eigen::ArrayXXd past, window;  // [buckets x series]: decayed counts; the window under way
  };

  double at(int field, int64_t i) const { return state_.table.at(field, i); }
  double& at(int field, int64_t i) { return state_.table.at(field, i); }
  bool Ready(int64_t i) const { return at(kAge, i) >= ticks_.warm_up_ticks && at(kWindows, i) >= 3; }
  // All of a tick's observations; below 0 where there is no tick, or none that could be counted.
  double Counted(const Values& x, const SeriesMask& mask, int64_t i) const {
    if (!mask(i)) return -1.0;
    double sum = 0.0;
    bool counts = true;
    for (int k = 0; k < width_; ++k) {
      counts &= x(k, i) >= 0.0;
      sum += x(k, i);
    }
    return counts && sum < 1e15 ? sum : -1.0;
  }

  // The window closed by this tick, judged; or the last verdict, while merging.
  Verdict Judge(int64_t i, const Values& x, double counted) const {
    Verdict v;
    const double n = (at(kMerged, i) > 0.0 ? Sum(state_.window, i) : 0.0) + counted, merged = at(kMerged, i) + 1.0;
    if (n < kEnough && (merged < kPatience || n < kFewEnough)) {
      v.p = std::max(std::exp(at(kLogP, i)), kLeastProbability);
      v.z = at(kZ, i);
      return v;
    }
    v.complete = true;
    v.n = n;
    const double total = Sum(state_.past, i);
    if (total <= 0.0) return v;
    Compare(i, x, n, total, &v);
    const Judgement j = state_.distance.Judge(i, v.octaves, v.floor);
    v.p = std::max(j.tail_probability, std::max(v.g_probability, kLeastProbability));
    v.z = v.g_probability > 0.01 ? std::clamp(j.z, -kInside, kInside) : j.z;
    return v;
  }

  static double Sum(const Eigen::ArrayXXd& counts, int64_t i) {
    const double* count = counts.data() + counts.rows() * i;
    double sum = 0.0;
    for (Eigen::Index k = 0; k < counts.rows(); ++k) sum += count[k];
    return sum;
  }

  // Distance, its noise floor and the G statistic.
  void Compare(int64_t i, const Values& x, double n, double total, Verdict* v) const {
    const double of_whole = 1.0 / (total + kSmear * width_), of_n = 1.0 / n;
    double difference = 0.0, size = 0.0, shift = 0.0, mean = 0.0, square = 0.0;
    double g = 0.0, observed = 0.0, expected = 0.0, pools = 0.0;
    double last_observed = 0.0, last_expected = 0.0;
    const double pooled = std::min(kPooled, n / 4.0);
    for (int k = 0; k < width_; ++k) {
      const double share = (state_.past(k, i) + kSmear) * of_whole;
      const double o = state_.window(k, i) + x(k, i);
      difference += share - o * of_n;  // F(past) - F(now) at the upper edge of bucket k: > 0 when now is slower
      size += std::abs(difference) * kOctavesPerBucket;
      shift += difference;
      mean += share * k;
      square += share * k * k;
      observed += o;
      expected += n * share;
      if (expected >= pooled) {
        g += Term(last_observed, last_expected);
        last_observed = observed;
        last_expected = expected;
        observed = expected = 0.0;
        pools += 1.0;
      }
    }
    if (expected >= kLastPool) {
      g += Term(last_observed, last_expected) + Term(observed, expected);
      pools += 1.0;
    } else {  // too little is left at the slow end: it joins the last pool
      g += Term(last_observed + observed, last_expected + expected);
    }
    const double deviation = kOctavesPerBucket * std::sqrt(std::max(square - mean * mean, 0.0));
    v->octaves = shift >= 0.0 ? size : -size;
    v->floor = std::max(kLeastEffect, deviation / std::sqrt(n));
    const double degrees = pools - 1.0;
    v->dispersion = degrees >= 1.0 ? std::max(0.0, 2.0 * g / degrees) : 1.0;
    v->g_probability = degrees >= 1.0 ? ChiSquareTail(2.0 * g / std::max(1.0, at(kOverdispersion, i)), degrees) : 1.0;
  }
  static double Term(double observed, double expected) { return observed > 0.0 ? observed * std::log(observed / expected) : 0.0; }

  double Quantile(int64_t i, double q, double total) const {
    if (total <= 0.0) return 0.0;
    double left = q * total;
    for (int k = 0; k < width_; ++k) {
      const double count = state_.past(k, i);
      if (left <= count && count > 0.0) {
        const double low = BucketLowerSeconds(k), high = BucketLowerSeconds(k + 1);
        return low + (high - low) * left / count;
      }
      left -= count;
    }
    return BucketLowerSeconds(width_);
  }

  void Learn(int64_t i, const Values& x, const Verdict& v);

  int width_;
  BaselineOptions ticks_;
  State state_;
};

void HistogramShape::Learn(int64_t i, const Values& x, const Verdict& v) {
  const bool ready = Ready(i);
  at(kAge, i) += 1;
  // Where every tick is a window of its own, as of a busy service, nothing is merged.
  const bool alone = v.complete && at(kMerged, i) == 0.0;
  if (!alone) state_.window.col(i) += x.col(i);
  at(kMerged, i) += 1;
  if (!v.complete) {
    if (at(kMerged, i) >= kTooLong) {
      state_.window.col(i).setZero();
      at(kMerged, i) = at(kZ, i) = at(kLogP, i) = 0;
    }
    return;
  }
  const bool suspect = ready && std::abs(v.z) > kSuspect;
  at(kHold, i) = suspect ? at(kHold, i) + at(kMerged, i) : 0;
  if (at(kHold, i) >= ticks_.relearn_ticks) {  // the new shape is the normal one
    if (alone) state_.past.col(i) = x.col(i);
    else state_.past.col(i) = state_.window.col(i);
    state_.distance.Forget(i);
    at(kHold, i) = at(kZ, i) = at(kLogP, i) = 0;
    at(kAge, i) = at(kWindows, i) = 1;
  } else {
    const double windows = at(kWindows, i) += 1;
    if (windows > 1) {
      state_.distance.Learn(i, v.octaves, v.floor);
      if (!suspect) at(kOverdispersion, i) += std::max(ticks_.alpha, 1.0 / windows) * (std::min(v.dispersion, 50.0) - at(kOverdispersion, i));
    }
    const double weight = suspect ? 0.0 : std::min(1.0, kMostWeight / v.n), keeps = 1.0 - std::min(0.5, ticks_.alpha * at(kMerged, i));
    const double* taught = alone ? x.data() + x.outerStride() * i : state_.window.data() + width_ * i;
    double* past = state_.past.data() + width_ * i;
    for (int k = 0; k < width_; ++k) past[k] = keeps * past[k] + weight * taught[k];
    at(kZ, i) = ready ? v.z : 0.0;
    at(kLogP, i) = ready && v.p < 1.0 ? std::log(v.p) : 0.0;
  }
  if (!alone) state_.window.col(i).setZero();
  at(kMerged, i) = 0;
}

bool HistogramShape::Load(std::string_view bytes) {
  State loaded = state_;
  if (!loaded.table.Load(&bytes) || !loaded.distance.Load(&bytes) || loaded.distance.series() != loaded.table.series()) return false;
  const int64_t series = loaded.table.series();
  const size_t size = static_cast<size_t>(width_ * series) * sizeof(double);
  if (bytes.size() != 2 * size) return false;
  for (Eigen::ArrayXXd* a : {&loaded.past, &loaded.window}) {
    a->resize(width_, series);
    std::copy_n(bytes.data(), size, reinterpret_cast<char*>(a->data()));
    if (!a->isFinite().all() || (*a < 0.0).any()) return false;
    bytes.remove_prefix(size);
  }
  state_ = std::move(loaded);
  return true;
}

}  // namespace

double BucketLowerSeconds(int bucket) {
  if (bucket <= 0) return 0.0;
  const double octave = std::exp2((bucket - 1) / 2) * 512e-9;
  return (bucket - 1) % 2 == 0 ? octave : 1.5 * octave;
}

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<HistogramShape>(options); }

}  // namespace outlier::models::histogram_shape
