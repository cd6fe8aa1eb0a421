#include "models/drift.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "models/baseline.h"
#include "models/lanes.h"
#include "models/series_model.h"
#include "models/series_table.h"
#include "models/tail.h"
#include "models/wide_table.h"

namespace outlier::models::drift {
namespace {

constexpr int kScales = 4;
constexpr int kSteps = 8;
constexpr std::array<double, kScales> kSubSeconds = {2.0, 8.0, 60.0, 600.0};
constexpr std::array<const char*, kScales> kNames = {"drift.2s", "drift.8s", "drift.60s", "drift.600s"};
constexpr double kAnchorSeconds = 600.0;   // half-life of the level before the growth
constexpr double kHolds = 4.0;             // |z| from which that level stands still
constexpr double kMargin = 0.25;           // of the range before the window: teeth are not all alike
constexpr double kMostValue = 1e100;
constexpr double kNothing = 1e-250;        // what fades ends here: arithmetic on denormal numbers is slow

struct Growth {
  double amount = 0.0;  // over the window, signed
  double step = 0.0;    // median step
};

// `means`: kSteps + 1 sub-interval means, oldest first.
Growth GrowthOf(const std::array<double, kSteps + 1>& means) {
  std::array<double, kSteps> steps;
  int up = 0, down = 0;
  for (int k = 0; k < kSteps; ++k) {
    steps[k] = means[k + 1] - means[k];
    up += steps[k] > 0.0;
    down += steps[k] < 0.0;
  }
  if (std::max(up, down) < kSteps - 1) return {};  // as most windows are: nothing to sort
  std::sort(steps.begin(), steps.end());
  const double net = means[kSteps] - means[0], median = 0.5 * (steps[kSteps / 2 - 1] + steps[kSteps / 2]);
  // A fall of more than two steps is a collection or an end, not noise: the saw-tooth begins anew.
  if (steps[1] > 0.0 && net > 0.0 && steps[0] > -2.0 * median) return {std::min(kSteps * steps[1], net), median};
  if (steps[kSteps - 2] < 0.0 && net < 0.0 && steps[kSteps - 1] < -2.0 * median) return {std::max(kSteps * steps[kSteps - 2], net), median};
  return {};
}

class Drift final : public SeriesModel<Drift> {
 public:
  explicit Drift(const Options& options) : prior_(options.prior), tick_(options.tick_seconds), state_(options) {
    const BaselineOptions ticks = TicksOf(options);
    warm_ticks_ = ticks.warm_up_ticks;
    anchor_alpha_ = -std::expm1(-M_LN2 * tick_ / kAnchorSeconds);
    for (int k = 0; k < kScales; ++k) {
      sub_ticks_[k] = std::max(1.0, std::round(kSubSeconds[k] / tick_));
      reach_forgets_[k] = -std::expm1(-M_LN2 * sub_ticks_[k] * tick_ / options.half_life_seconds);
    }
  }
  std::string_view name() const override { return "drift"; }
  int width() const override { return 1; }
  int64_t series() const override { return state_.table.series(); }
  void Resize(int64_t series) override {
    state_.table.Resize(series);
    state_.rest.Resize(series);
    for (WideBaseline& b : state_.growth) b.Resize(series);
  }
  void Forget(int64_t series) override {
    state_.table.Forget(series);
    state_.rest.Forget(series);
    for (WideBaseline& b : state_.growth) b.Forget(series);
  }
  void Adopt(int64_t from, int64_t to) override {
    state_.table.Copy(from, to);
    state_.rest.Copy(from, to);
    for (WideBaseline& b : state_.growth) b.Copy(from, to);
  }
  int64_t state_bytes_per_series() const override {
    return state_.table.bytes_per_series() + state_.rest.bytes_per_series() + kScales * state_.growth[0].bytes_per_series();
  }
  // In the file one scale follows the other.
  void Save(std::string* out) const override {
    SeriesTable table("drift", 2, kFields);
    table.Resize(series());
    for (int64_t i = 0; i < series(); ++i) {
      for (int f = 0; f < kFields; ++f) table.at(SavedAs(f), i) = at(f, i);
    }
    table.Save(out);
    for (const WideBaseline& b : state_.growth) b.Save(out);
  }
  bool Load(std::string_view bytes) override {
    State loaded = state_;
    SeriesTable table("drift", 2, kFields);
    if (!table.Load(&bytes)) return false;
    loaded.table.Resize(table.series());
    loaded.rest.Resize(table.series());
    for (int64_t i = 0; i < table.series(); ++i) {
      for (int f = 0; f < kFields; ++f) loaded.at(f, i) = table.at(SavedAs(f), i);
    }
    for (WideBaseline& b : loaded.growth) {
      if (!b.Load(&bytes) || b.series() != loaded.table.series()) return false;
    }
    if (!bytes.empty()) return false;
    state_ = std::move(loaded);
    return true;
  }

 private:
  friend SeriesModel;
  // The statistic moves only when a sub-interval closes, so a tick is judged by the windows closed before it.
  OUTLIER_INLINE void ScoreOne(int64_t i, const Values& x, const SeriesMask& mask, Assessment* out) const {
    const bool seen = mask.data()[i] && std::isfinite(x.data()[i * x.outerStride()]);
    const double z = seen ? at(kZ, i) : 0.0;
    out->z.data()[i] = z;
    out->ready.data()[i] = Ready(i);
    if (out->Wants(z)) TellOne(i, seen, out);
  }
  [[gnu::noinline]] void TellOne(int64_t i, bool seen, Assessment* out) const {
    const double anchor = at(kAnchor, i), width = 3.0 * std::max(std::sqrt(at(kAnchorVariance, i)), Floor(i));
    out->tail_probability(i) = seen ? Probability(i) : 1.0;
    out->Expect(i, anchor, anchor - width, anchor + width, seen ? at(kRate, i) : 0.0);
  }

  OUTLIER_INLINE void UpdateOne(int64_t i, const Values& x, const SeriesMask& mask) {
    const double value = x.data()[i * x.outerStride()];
    if (mask.data()[i] && std::isfinite(value)) Learn(i, std::clamp(value, -kMostValue, kMostValue));
  }

  // The last judgement (kLogP = log p: a fresh row of zeros means p = 1), the level before it, then per scale:
  // sum and count of the open sub-interval, number of closed ones, what the means before the window
  // reached, and a ring of the last kSteps + 1 means: the window. What every tick touches comes first, four series together; the rest, from
  // kTold on, lies apart.
  enum Field { kAge, kAnchor, kAnchorVariance, kZ, kSums, kCounts = kSums + kScales, kCloseds = kCounts + kScales, kTold = kCloseds + kScales, kLogP = kTold, kRate, kRest };
  enum ScaleField { kSum, kCount, kClosed, kHigh, kLow, kRing, kPerScale = kRing + kSteps + 1 };
  static constexpr int kFields = kRest + kScales * (kPerScale - kHigh);
  struct State {
    explicit State(const Options& options) : table("drift", 2, kTold), rest("drift", 2, kFields - kTold) {
      BaselineOptions ticks = TicksOf(options);
      ticks.settle_ticks = 0;
      ticks.warm_up_ticks = 2;
      growth.reserve(kScales);
      for (int k = 0; k < kScales; ++k) {
        BaselineOptions own = ticks;
        const double sub = std::max(1.0, std::round(kSubSeconds[k] / options.tick_seconds));
        own.alpha = std::min(1.0, ticks.alpha * sub);
        own.cold_ticks = std::floor(ticks.cold_ticks / sub);
        own.relearn_ticks = std::max(30.0, ticks.relearn_ticks / sub);
        own.teach_ticks = 0;    // a growing window says nothing about windows that do not grow
        own.forgive_ticks = 2;
        growth.emplace_back(kNames[k], 1, own);
      }
    }
    const double& at(int field, int64_t i) const { return field < kTold ? table.at(field, i) : rest.at(field - kTold, i); }
    double& at(int field, int64_t i) { return field < kTold ? table.at(field, i) : rest.at(field - kTold, i); }
    WideTable table;
    SeriesTable rest;
    std::vector<WideBaseline> growth;
  };
  const double& at(int field, int64_t i) const { return state_.at(field, i); }
  double& at(int field, int64_t i) { return state_.at(field, i); }
  static constexpr int FieldOf(int scale, int field) {
    constexpr int kFirst[] = {kSums, kCounts, kCloseds};
    return field < kHigh ? kFirst[field] + scale : kRest + scale * (kPerScale - kHigh) + field - kHigh;
  }
  static constexpr int SavedAs(int field) {
    constexpr int kHead[] = {kAge, kAnchor, kAnchorVariance, kZ, kLogP, kRate}, kHeads = std::size(kHead);
    for (int n = 0; n < kHeads; ++n) {
      if (kHead[n] == field) return n;
    }
    for (int saved = 0; saved < kScales * kPerScale; ++saved) {
      if (FieldOf(saved / kPerScale, saved % kPerScale) == field) return kHeads + saved;
    }
    return -1;
  }
  // The ring's place for the mean number `n`.
  static int PlaceOf(double n) { return static_cast<int>(static_cast<int64_t>(std::clamp(n, 0.0, 1e15)) % (kSteps + 1)); }
  double Floor(int64_t i) const { return std::max(prior_.scale_floor, prior_.relative_floor * std::abs(at(kAnchor, i))); }
  double Probability(int64_t i) const { return std::max(std::exp(at(kLogP, i)), kLeastProbability); }
  bool Ready(int64_t i) const { return at(kAge, i) >= warm_ticks_ && at(FieldOf(0, kClosed), i) > kSteps; }

  // Whether scale k's window may be told: beyond the warm-up, and for the longer ones a window after the first filling.
  bool Judged(int k, int64_t i) const {
    const double closed = at(FieldOf(k, kClosed), i);
    return at(kAge, i) >= warm_ticks_ && closed >= (k == 0 ? kSteps + 3 : 2 * kSteps + 1);
  }

  void Learn(int64_t i, double x) {
    at(kAge, i) += 1;
    bool closes = false;
    for (int k = 0; k < kScales; ++k) {
      at(kSums + k, i) += x;
      closes |= (at(kCounts + k, i) += 1) >= sub_ticks_[k];
    }
    if (closes) Close(i);
    LearnAnchor(i, x);
  }

  // Ticks of four series that are all observed and have nothing to tell.
  OUTLIER_INLINE bool StepFour(int64_t first, const Values& x, const SeriesMask& mask, Assessment* out) {
    const int64_t stride = x.outerStride();
    const double* from = x.data() + first * stride;
    LanePair value[2] = {{from[0], from[stride]}, {from[2 * stride], from[3 * stride]}};
    LanePair* block = state_.table.block(first);
    PairMask odd = ((value[0] - value[0]) + (value[1] - value[1])) != 0.0;  // not finite
    for (int half = 0; half < 2; ++half) odd |= (Abs(block[2 * kZ + half]) >= kSurelyLess * out->notable) | (block[2 * kAge + half] == 0.0);
    if (!AllPresent(mask, first) || Any(odd)) return false;
    PairMask closes[kScales]{}, all{};
    for (int half = 0; half < 2; ++half) {
      LanePair& age = block[2 * kAge + half];
      Tell(first + 2 * half, block[2 * kZ + half], (age >= warm_ticks_) & (block[2 * kCloseds + half] > kSteps), out);
      age += 1.0;
      value[half] = Min(Max(value[half], -kMostValue), kMostValue);
      for (int k = 0; k < kScales; ++k) {
        LanePair& count = block[2 * (kCounts + k) + half];
        block[2 * (kSums + k) + half] += value[half];
        count += 1.0;
        closes[k] |= count >= sub_ticks_[k];
      }
    }
    for (const PairMask some : closes) all |= some;
    if (Any(all)) CloseFour(first, closes);
    for (int half = 0; half < 2; ++half) LearnAnchors(value[half], block + half);
    return true;
  }

  void Close(int64_t i) {
    for (int k = 0; k < kScales; ++k) {
      if (at(kCounts + k, i) < sub_ticks_[k]) continue;
      EndInterval(k, i);
      if (at(kCloseds + k, i) > kSteps) state_.growth[k].Learn(i, LastGrowth(k, i).amount, Floor(i));
    }
    Judge(i);
  }
  // The same of those that close a sub-interval now. `closes`: by scale, whether one of two does.
  [[gnu::noinline]] void CloseFour(int64_t first, const PairMask* closes) {
    const int64_t next = first + kLanes;
    for (int64_t i = next; i < std::min(next + kLanes, series()); ++i) state_.rest.Fetch(i, FieldOf(0, kHigh) - kTold, kPerScale - kHigh);
    bool judged[kLanes]{};
    double floor[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) floor[lane] = Floor(first + lane);
    for (int k = 0; k < kScales; ++k) {
      if (!Any(closes[k])) continue;
      bool taught[kLanes]{};
      double amount[kLanes]{};
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t i = first + lane;
        if (at(kCounts + k, i) < sub_ticks_[k]) continue;
        EndInterval(k, i);
        judged[lane] = true;
        taught[lane] = at(kCloseds + k, i) > kSteps;
        if (taught[lane]) amount[lane] = LastGrowth(k, i).amount;
      }
      state_.growth[k].LearnFour(first, amount, floor, taught);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (judged[lane]) Judge(first + lane);
    }
  }
  void EndInterval(int k, int64_t i) {
    double& sum = at(kSums + k, i);
    double& count = at(kCounts + k, i);
    double& number = at(kCloseds + k, i);
    double& oldest = at(FieldOf(k, kRing + PlaceOf(number)), i);
    LearnReach(k, i, oldest);
    oldest = sum / count;
    number += 1;
    sum = count = 0;
  }

  Growth LastGrowth(int k, int64_t i) const {
    std::array<double, kSteps + 1> means;
    const int oldest = PlaceOf(at(FieldOf(k, kClosed), i)), first = kSteps + 1 - oldest;
    const double* ring = &at(FieldOf(k, kRing), i);
    std::copy_n(ring + oldest, first, means.begin());
    std::copy_n(ring, oldest, means.begin() + first);
    return GrowthOf(means);
  }

  // Chooses the window with the largest |z|. A window is compared with what was learned of windows including itself at
  // the small weight of an excursion (2 %), which cannot hide it.
  void Judge(int64_t i) {
    double z = 0.0, p = 1.0, rate = 0.0;
    for (int k = 0; k < kScales; ++k) {
      if (!Judged(k, i)) continue;
      const double beyond = BeyondReach(k, i);
      if (beyond == 0.0) continue;
      const Growth growth = LastGrowth(k, i);
      if (growth.amount * beyond <= 0.0) continue;
      const Judgement j = state_.growth[k].Judge(i, growth.amount, Floor(i));
      // Growth smaller than usual is not shrinking: a departure counts only in the direction of the growth itself.
      if (j.z * growth.amount <= 0.0 || std::abs(j.z) <= std::abs(z)) continue;
      z = j.z;
      p = std::min(1.0, kScales * j.tail_probability);
      rate = growth.step / (sub_ticks_[k] * tick_);
    }
    at(kZ, i) = z;
    at(kLogP, i) = p < 1.0 ? std::log(p) : 0.0;
    at(kRate, i) = rate;
  }

  // Memory that is collected and grows again, or warms up after a start, goes where it was before the window.
  // By how much the newest mean is beyond that, signed; 0 inside.
  double BeyondReach(int k, int64_t i) const {
    const double newest = at(FieldOf(k, kRing + PlaceOf(at(FieldOf(k, kClosed), i) + kSteps)), i);
    const double high = at(FieldOf(k, kHigh), i), low = at(FieldOf(k, kLow), i), margin = std::max(Floor(i), kMargin * (high - low));
    return std::max(newest - high - margin, 0.0) + std::min(newest - low + margin, 0.0);
  }

  // A mean leaves the window. What was reached is forgotten with the half-life of everything.
  void LearnReach(int k, int64_t i, double mean) {
    const double closed = at(FieldOf(k, kClosed), i);
    if (closed <= kSteps) return;
    double& high = at(FieldOf(k, kHigh), i);
    double& low = at(FieldOf(k, kLow), i);
    if (closed == kSteps + 1) high = low = mean;
    if (at(kZ, i) != 0.0) return;  // what is being told of is no past
    high = std::max(high - reach_forgets_[k] * (high - mean), mean);
    low = std::min(low - reach_forgets_[k] * (low - mean), mean);
  }

  void LearnAnchor(int64_t i, double x) {
    const double age = at(kAge, i);
    const double alpha = age <= warm_ticks_ / 4.0 ? std::max(anchor_alpha_, 1.0 / 3.0) : age * anchor_alpha_ < 1.0 ? 1.0 / age : anchor_alpha_;
    if (age == 1) {
      at(kAnchor, i) = x;
      return;
    }
    if (std::abs(at(kZ, i)) > kHolds) return;
    const double e = x - at(kAnchor, i);
    at(kAnchor, i) += alpha * e;
    const double variance = at(kAnchorVariance, i) + alpha * ((1.0 - alpha) * e * e - at(kAnchorVariance, i));
    at(kAnchorVariance, i) = variance > kNothing ? variance : 0.0;
  }

  // The same of two series that were seen before; `block`: theirs, a field every other pair.
  OUTLIER_INLINE void LearnAnchors(LanePair x, LanePair* block) const {
    const LanePair age = block[2 * kAge];
    LanePair &anchor = block[2 * kAnchor], &variance = block[2 * kAnchorVariance];
    const LanePair young = age * anchor_alpha_ < 1.0 ? 1.0 / age : AllPair(anchor_alpha_);
    const LanePair alpha = age <= warm_ticks_ / 4.0 ? AllPair(std::max(anchor_alpha_, 1.0 / 3.0)) : young;
    const PairMask stands = Abs(block[2 * kZ]) > kHolds;
    const LanePair e = x - anchor, moved = anchor + alpha * e, spread = variance + alpha * ((1.0 - alpha) * e * e - variance);
    anchor = stands ? anchor : moved;
    variance = stands ? variance : Where(spread > kNothing, spread);
  }

  Prior prior_;
  double tick_, warm_ticks_ = 0, anchor_alpha_ = 0;
  std::array<double, kScales> sub_ticks_{}, reach_forgets_{};
  State state_;
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Drift>(options); }

}  // namespace outlier::models::drift
