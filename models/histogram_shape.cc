#include "models/histogram_shape.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "models/baseline.h"
#include "models/histogram_table.h"
#include "models/lanes.h"
#include "models/series_model.h"
#include "models/series_table.h"
#include "models/special.h"
#include "models/tail.h"

namespace outlier::models::histogram_shape {
namespace {

constexpr double kEnough = 20.0;          // observations for a judgement at once
constexpr double kFewEnough = 5.0;        // and after kPatience ticks
constexpr double kPatience = 5.0;         // ticks
constexpr double kTooLong = 30.0;         // ticks after which an unfinished window is dropped
constexpr float kPooled = 5.0f;           // least expected count of a pooled bucket, or a quarter of a small window
constexpr float kLastPool = 1.0f;         // least expected count of the pool at the slow end
constexpr float kOctavesPerBucket = 0.5f;
constexpr double kLeastEffect = 0.25;     // octaves: noise that needs no explanation (19 % of latency)
constexpr double kMostWeight = 200.0;     // observations one window counts as, at most
constexpr double kSuspect = 4.0;          // |z| beyond which a window teaches nothing, until it has held
constexpr float kSmear = 0.02f;           // pseudo-count of every bucket: nothing is impossible
constexpr double kCentral = 0.005;        // tail share outside lower and upper
constexpr double kInside = 2.5758293035489004;
constexpr float kMostCalls = 1e15f;       // in one tick
constexpr double kSurely = 1e4;           // a statistic of one degree of freedom whose p is next to nothing
constexpr int kMostWidth = 256;

using Extent = HistogramTable::Extent;

class HistogramShape final : public SeriesModel<HistogramShape> {
 public:
  explicit HistogramShape(const Options& options)
      : width_(std::clamp(options.width, 2, kMostWidth)), ticks_(TicksOf(options)), state_(width_, ticks_) {}
  std::string_view name() const override { return "histogram_shape"; }
  int width() const override { return width_; }
  int64_t series() const override { return state_.table.series(); }
  void Resize(int64_t series) override {
    state_.table.Resize(series);
    state_.distance.Resize(series);
    state_.past.Resize(series);
    state_.window.Resize(series);
  }
  void Forget(int64_t i) override {
    state_.table.Forget(i);
    state_.distance.Forget(i);
    state_.past.Clear(i);
    state_.window.Clear(i);
  }
  void Adopt(int64_t from, int64_t to) override {
    if (from == to) return;
    state_.table.Copy(from, to);
    state_.distance.Copy(from, to);
    state_.past.Copy(from, to);
    state_.window.Copy(from, to);
  }
  int64_t state_bytes_per_series() const override {
    return state_.table.bytes_per_series() + state_.distance.bytes_per_series() + 2 * width_ * static_cast<int64_t>(sizeof(float));
  }
  void Save(std::string* out) const override {
    state_.table.Save(out);
    state_.distance.Save(out);
    state_.past.Save(out);
    state_.window.Save(out);
  }
  bool Load(std::string_view bytes) override;
  void StepCounts(const FloatValues& x, const SeriesMask& mask, Assessment* out) override {
    for (int64_t i = 0, all = series(); i < all; ++i) StepOne(i, x, mask, out);
  }

 private:
  friend SeriesModel;
  void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    float room[kMostWidth];
    const Counted now = Count(x.data() + x.outerStride() * i, mask(i), room);
    Tell(i, now.counts && Ready(i) ? Judge(i, now) : Verdict{}, out);
  }
  void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    float room[kMostWidth];
    const Counted now = Count(x.data() + x.outerStride() * i, mask(i), room);
    if (now.counts) Learn(i, now, Judge(i, now));
  }
  template <class Numbers>
  void StepOne(int64_t i, const Numbers& x, const SeriesMask& mask, Assessment* out) {
    constexpr int64_t kAhead = 8;
    if (i + kAhead < series()) {
      state_.past.Fetch(i + kAhead);
      state_.window.Fetch(i + kAhead);
    }
    float room[kMostWidth];
    const Counted now = Count(x.data() + x.outerStride() * i, mask.data()[i], room);
    const Verdict v = now.counts ? Judge(i, now) : Verdict{};
    Tell(i, now.counts && Ready(i) ? v : Verdict{}, out);
    if (now.counts) Learn(i, now, v);
  }

  // One tick of a series.
  struct Counted {
    const float* count = nullptr;
    float total = 0.0f;
    Extent used;
    bool counts = false;  // there is a tick, and it can be counted
  };
  struct Verdict {
    double z = 0.0;
    double tail = 1.0;                       // p of the distance
    double statistic = 0.0, degrees = 0.0;   // of G
    bool complete = false;
    double octaves = 0.0, floor = kLeastEffect, dispersion = 1.0;
    double n = 0.0;      // observations of the window
  };
  // Where too little was seen to form two pools nothing is told.
  static double ProbabilityOfG(const Verdict& v) { return v.degrees >= 1.0 ? ChiSquareTail(v.statistic, v.degrees) : 1.0; }
  static double Probability(const Verdict& v) { return std::max(v.tail, std::max(ProbabilityOfG(v), kLeastProbability)); }
  OUTLIER_INLINE void Tell(int64_t i, const Verdict& v, Assessment* out) const {
    out->z.data()[i] = v.z;
    out->ready.data()[i] = Ready(i);
    if (out->Wants(v.z)) TellMore(i, v, out);
  }
  [[gnu::noinline]] void TellMore(int64_t i, const Verdict& v, Assessment* out) const {
    out->tail_probability(i) = Probability(v);
    if (!out->wants_expected()) return;
    const double total = at(kTotal, i);
    out->Expect(i, Quantile(i, 0.5, total), Quantile(i, kCentral, total), Quantile(i, 1.0 - kCentral, total));
  }

  // kCalls, kTotal: of the window and of the past. kZ to kDegrees: the verdict that stands until the next one.
  enum Field { kAge, kWindows, kMerged, kCalls, kTotal, kOverdispersion, kZ, kTail, kStatistic, kDegrees, kHold, kFields };
  struct State {
    State(int width, const BaselineOptions& ticks)
        : table("histogram_shape", 2, kFields), distance("histogram_shape.distance", 1, Own(ticks)), past(width), window(width) {}
    static BaselineOptions Own(BaselineOptions ticks) {
      // Judged windows come slower than ticks; the model's own warm-up decides readiness.
      ticks.settle_ticks = 0;
      ticks.warm_up_ticks = 2;
      ticks.teach_ticks = 1;
      return ticks;
    }
    SeriesTable table;
    Baseline distance;
    HistogramTable past, window;  // decayed counts; the window under way
  };

  double at(int field, int64_t i) const { return state_.table.at(field, i); }
  double& at(int field, int64_t i) { return state_.table.at(field, i); }
  bool Ready(int64_t i) const { return at(kAge, i) >= ticks_.warm_up_ticks && at(kWindows, i) >= 3; }
  void Stand(int64_t i, const Verdict& v) {
    at(kZ, i) = v.z;
    at(kTail, i) = v.tail;
    at(kStatistic, i) = v.statistic;
    at(kDegrees, i) = v.degrees;
  }

  // Four buckets from here on; 0 beyond the last.
  OUTLIER_INLINE Lanes BlockOf(const float* count, int block) const {
    if (block * kLanes + kLanes > width_) [[unlikely]] return LastBlockOf(count, block);
    Lanes out;
    std::memcpy(&out, count + block * kLanes, sizeof out);
    return out;
  }
  // Apart, because a lane that is chosen as the program runs keeps all four in memory.
  [[gnu::noinline]] Lanes LastBlockOf(const float* count, int block) const {
    Lanes out{};
    for (int lane = 0; block * kLanes + lane < width_; ++lane) out[lane] = count[block * kLanes + lane];
    return out;
  }
  // `room`: of kMostWidth, for what is not in single precision yet; lives as long as what is returned.
  template <class Number>
  OUTLIER_INLINE Counted Count(const Number* column, bool present, float* room) const {
    Counted now;
    if (!present) return now;
    if constexpr (std::is_same_v<Number, float>) {
      now.count = column;
    } else {
      for (int k = 0; k < width_; ++k) room[k] = static_cast<float>(column[k]);
      now.count = room;
    }
    const int blocks = (width_ + kLanes - 1) / kLanes;
    Lanes least{}, sum{};
    uint64_t used = 0;
    for (int block = 0; block < blocks; ++block) {
      const Lanes counts = BlockOf(now.count, block);
      least = Min(least, counts);  // what is not a number is not in it, but in the sum
      sum += counts;
      used |= static_cast<uint64_t>(Bits(counts != 0.0f) != 0) << block;
    }
    now.total = Sum(sum);
    now.counts = Bits(least >= 0.0f) == 0xf && now.total < kMostCalls;
    if (used != 0) now.used = {static_cast<uint16_t>(std::countr_zero(used)), static_cast<uint16_t>(64 - std::countl_zero(used))};
    return now;
  }

  // The window closed by this tick, judged; or the last verdict, while merging.
  Verdict Judge(int64_t i, const Counted& now) const {
    Verdict v;
    const double n = at(kCalls, i) + now.total, merged = at(kMerged, i) + 1.0;
    if (n < kEnough && (merged < kPatience || n < kFewEnough)) {
      v.z = at(kZ, i);
      v.tail = at(kTail, i);
      v.statistic = at(kStatistic, i);
      v.degrees = at(kDegrees, i);
      return v;
    }
    v.complete = true;
    v.n = n;
    if (!(at(kTotal, i) > 0.0)) return v;
    Compare(i, now, static_cast<float>(n), static_cast<float>(at(kTotal, i)), &v);
    const Judgement j = state_.distance.Judge(i, v.octaves, v.floor);
    v.tail = j.tail_probability;
    v.z = j.z;
    if (std::abs(j.z) > kInside && ProbabilityOfG(v) > 0.01) v.z = std::clamp(j.z, -kInside, kInside);
    return v;
  }

  // Distance, its noise floor and the G statistic. Buckets below and above all that were used hold the smear and nothing else: their sums
  // are known, and they count as one bucket each side.
  void Compare(int64_t i, const Counted& now, float n, float total, Verdict* v) const {
    Extent used = state_.past.used(i);
    used.Add(state_.window.used(i));
    used.Add(now.used);
    const float of_whole = 1.0f / (total + kSmear * static_cast<float>(width_)), of_n = 1.0f / n, unused = kSmear * of_whole;
    const int first = used.from * kLanes, last = std::min(used.to * kLanes, width_), length = last - first;
    const auto below = static_cast<float>(first), above = static_cast<float>(width_ - last), span = static_cast<float>(length);
    // Sums of the unused ones: of j, then of j squared, from the edge on.
    const float low_sum = 0.5f * below * (below + 1.0f), low_squares = low_sum * (2.0f * below + 1.0f) / 3.0f;
    const float high_sum = 0.5f * above * (above - 1.0f), high_squares = high_sum * (2.0f * above - 1.0f) / 3.0f;

    float observed[kMostWidth], expected[kMostWidth];
    Lanes size{}, shift{}, mean{}, square{}, bucket{0.0f, 1.0f, 2.0f, 3.0f}, difference = AllLanes(below * unused);
    const Lanes* past = state_.past.at(i);
    const Lanes* window = state_.window.used(i).empty() ? nullptr : state_.window.at(i);  // most ticks of a busy workload are windows of their own
    for (int block = used.from; block < used.to; ++block, bucket += 4.0f) {
      Lanes share = (past[block] + kSmear) * of_whole;
      if (block * kLanes + kLanes > width_) [[unlikely]] share = Where(LaneMask{0, 1, 2, 3} < width_ % kLanes, share);
      const Lanes own = BlockOf(now.count, block), counts = window == nullptr ? own : window[block] + own;
      const Lanes apart = RunningSum(share - counts * of_n) + difference;  // F(past) - F(now) at the upper edges: > 0 when now is slower
      difference = AllLanes(apart[kLanes - 1]);
      size += Abs(apart);
      shift += apart;
      mean += share * bucket;
      square += share * bucket * bucket;
      const Lanes expects = share * n;
      std::memcpy(observed + (block - used.from) * kLanes, &counts, sizeof counts);
      std::memcpy(expected + (block - used.from) * kLanes, &expects, sizeof expects);
    }
    const float all_size = Sum(size) + unused * (low_sum + high_sum), all_shift = Sum(shift) + unused * (low_sum - high_sum);
    const float middle = Sum(mean) + unused * (above * span + high_sum - low_sum);
    const float squares = Sum(square) + unused * (low_squares + above * span * span + 2.0f * span * high_sum + high_squares);
    const float deviation = kOctavesPerBucket * std::sqrt(std::max(squares - middle * middle, 0.0f));
    const float octaves = all_size * kOctavesPerBucket;
    v->octaves = all_shift >= 0.0f ? octaves : -octaves;
    v->floor = std::max(kLeastEffect, static_cast<double>(deviation / std::sqrt(n)));

    const int pools = Pool(length, std::min(kPooled, n / 4.0f), below * unused * n, above * unused * n, observed, expected);
    v->degrees = pools - 1.0;
    if (pools < 2) return;
    const double g2 = 2.0 * Divergence(pools, observed, expected);
    v->dispersion = std::max(0.0, g2 / v->degrees);
    v->statistic = g2 / std::max(1.0, at(kOverdispersion, i));
  }

  // Joins buckets until each expects `pooled`, in place; what is left at the slow end joins the last pool where it is less than kLastPool. Gives
  // their number. `below`, `above`: expected beyond the buckets.
  static int Pool(int buckets, float pooled, float below, float above, float* observed, float* expected) {
    int pools = 0;
    float o = 0.0f, e = below;
    for (int k = 0; k < buckets; ++k) {  // without a branch, since nobody knows where a pool is full
      o += observed[k];
      e += expected[k];
      const bool full = e >= pooled;
      observed[pools] = o;
      expected[pools] = e;
      pools += full;
      o = full ? 0.0f : o;
      e = full ? 0.0f : e;
    }
    e += above;
    if (pools == 0) return 0;
    if (e >= kLastPool) {
      observed[pools] = o;
      expected[pools] = e;
      return pools + 1;
    }
    observed[pools - 1] += o;
    expected[pools - 1] += e;
    return pools;
  }

  // Sum of O ln(O/E) - (O - E), two pools at a time: both sums of counts are the same, and so rounding of E does not matter.
  static double Divergence(int pools, const float* observed, const float* expected) {
    LanePair sum{};
    for (int k = 0; k < pools; k += 2) {
      const bool pair = k + 1 < pools;
      const LanePair o{observed[k], pair ? observed[k + 1] : 1.0}, e{expected[k], pair ? expected[k + 1] : 1.0}, ratio = o / e;
      sum += o * Log(ratio > 0.0 ? ratio : 1.0 + LanePair{}) - (o - e);
    }
    return sum[0] + sum[1];
  }

  double Quantile(int64_t i, double q, double total) const {
    if (total <= 0.0) return 0.0;
    double left = q * total;
    for (int k = 0; k < width_; ++k) {
      const double count = state_.past.count(i, k);
      if (left <= count && count > 0.0) {
        const double low = BucketLowerSeconds(k), high = BucketLowerSeconds(k + 1);
        return low + (high - low) * left / count;
      }
      left -= count;
    }
    return BucketLowerSeconds(width_);
  }

  void Learn(int64_t i, const Counted& now, const Verdict& v);
  void AddToWindow(int64_t i, const Counted& now);
  void LearnShape(int64_t i, const Counted& now, float keeps, float weight);
  bool LoadAsBefore(std::string_view bytes);

  int width_;
  BaselineOptions ticks_;
  State state_;
};

void HistogramShape::Learn(int64_t i, const Counted& now, const Verdict& v) {
  const bool ready = Ready(i);
  at(kAge, i) += 1;
  at(kMerged, i) += 1;
  at(kCalls, i) += now.total;
  if (!v.complete) {
    AddToWindow(i, now);
    if (at(kMerged, i) >= kTooLong) {
      state_.window.Clear(i);
      at(kMerged, i) = at(kCalls, i) = 0;
      Stand(i, {});
    }
    return;
  }
  const bool suspect = ready && std::abs(v.z) > kSuspect;
  at(kHold, i) = suspect ? at(kHold, i) + at(kMerged, i) : 0;
  if (at(kHold, i) >= ticks_.relearn_ticks) {  // the new shape is the normal one
    AddToWindow(i, now);
    state_.past.Assign(i, state_.window.at(i), state_.window.used(i));
    at(kTotal, i) = v.n;
    state_.distance.Forget(i);
    at(kHold, i) = 0;
    Stand(i, {});
    at(kAge, i) = at(kWindows, i) = 1;
  } else {
    const double windows = at(kWindows, i) += 1;
    if (windows > 1) {
      state_.distance.Learn(i, v.octaves, v.floor);
      if (!suspect) at(kOverdispersion, i) += std::max(ticks_.alpha, 1.0 / windows) * (std::min(v.dispersion, 50.0) - at(kOverdispersion, i));
    }
    LearnShape(i, now, static_cast<float>(1.0 - std::min(0.5, ticks_.alpha * at(kMerged, i))),
               suspect ? 0.0f : static_cast<float>(std::min(1.0, kMostWeight / v.n)));
    Stand(i, ready ? v : Verdict{});
  }
  state_.window.Clear(i);
  at(kMerged, i) = at(kCalls, i) = 0;
}

void HistogramShape::AddToWindow(int64_t i, const Counted& now) {
  Lanes* window = state_.window.at(i);
  for (int block = now.used.from; block < now.used.to; ++block) window[block] += BlockOf(now.count, block);
  state_.window.Use(i, now.used);
}

// The window, with this tick in it, becomes past.
void HistogramShape::LearnShape(int64_t i, const Counted& now, float keeps, float weight) {
  Lanes* past = state_.past.at(i);
  const Lanes* window = state_.window.used(i).empty() ? nullptr : state_.window.at(i);
  if (weight > 0.0f) {
    state_.past.Use(i, state_.window.used(i));
    state_.past.Use(i, now.used);
  }
  const Extent& used = state_.past.used(i);
  for (int block = used.from; block < used.to; ++block) {
    const Lanes own = BlockOf(now.count, block);
    past[block] = keeps * past[block] + weight * (window == nullptr ? own : window[block] + own);
  }
  state_.past.Tighten(i);
  at(kTotal, i) = keeps * at(kTotal, i) + weight * at(kCalls, i);
}

bool HistogramShape::Load(std::string_view bytes) {
  State loaded = state_;
  std::string_view rest = bytes;
  if (!loaded.table.Load(&rest)) return LoadAsBefore(bytes);
  if (!loaded.distance.Load(&rest) || loaded.distance.series() != loaded.table.series()) return false;
  const int64_t series = loaded.table.series();
  if (rest.size() != 2 * width_ * series * sizeof(float)) return false;
  if (!loaded.past.Load<float>(series, &rest) || !loaded.window.Load<float>(series, &rest)) return false;
  state_ = std::move(loaded);
  return true;
}

// Version 1: counts were doubles, and of the standing verdict the logarithm of p was kept.
bool HistogramShape::LoadAsBefore(std::string_view bytes) {
  enum OldField { kOldAge, kOldWindows, kOldMerged, kOldOverdispersion, kOldZ, kOldLogP, kOldHold, kOldFields };
  State loaded(width_, ticks_);
  SeriesTable old("histogram_shape", 1, kOldFields);
  if (!old.Load(&bytes) || !loaded.distance.Load(&bytes) || loaded.distance.series() != old.series()) return false;
  const int64_t series = old.series();
  if (bytes.size() != 2 * width_ * series * sizeof(double)) return false;
  if (!loaded.past.Load<double>(series, &bytes) || !loaded.window.Load<double>(series, &bytes)) return false;
  loaded.table.Resize(series);
  for (int64_t i = 0; i < series; ++i) {
    constexpr std::pair<Field, OldField> kSame[] = {{kAge, kOldAge}, {kWindows, kOldWindows}, {kMerged, kOldMerged},
                                                   {kOverdispersion, kOldOverdispersion}, {kZ, kOldZ}, {kHold, kOldHold}};
    for (const auto& [field, from] : kSame) loaded.table.at(field, i) = old.at(from, i);
    loaded.table.at(kCalls, i) = loaded.window.Total(i);
    loaded.table.at(kTotal, i) = loaded.past.Total(i);
    loaded.table.at(kTail, i) = std::clamp(std::exp(old.at(kOldLogP, i)), kLeastProbability, 1.0);
    loaded.table.at(kStatistic, i) = kSurely;  // p is that of both already
    loaded.table.at(kDegrees, i) = 1.0;
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
