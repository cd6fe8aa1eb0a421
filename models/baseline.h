// Baseline: level, scale, tail and seen range of one scalar stream a series; what drift and histogram_shape are made of,
// and what robust_level does to four series at once in single precision (models/robust_level.cc): the rules are told here for both.
//
// Level and variance are exponentially weighted means (Roberts 1959) of innovations winsorised at 3 standard deviations
// (Huber 1964), alpha_t = max(alpha, 1/(t+3)) once settled. Increments are doubles: at a half-life of a day and 1 s ticks
// alpha is 8e-6, which single precision would lose and double does not, so no second, slower clock is needed.
//
// Three rules keep a fault from teaching and a cold start from crying:
//  - an excursion (|z| beyond the 1 % quantile and 4) teaches fully for `teach_ticks`, then at 2 %; after `relearn_ticks`
//    without a break the new level is accepted and learned afresh;
//  - while young, |z| inside the seen range is at most that of a 1-in-100 value (of n exchangeable values the next
//    exceeds all with probability 1/(n+1)), and beyond it grows with the distance from 1.25 x the range; the rule fades
//    out over `cold_ticks`;
//  - an excursion shorter than `forgive_ticks` that ended was life, and widens the range; a longer one was a fault.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "models/model.h"
#include "models/lanes.h"
#include "models/series_table.h"
#include "models/wide_table.h"

namespace outlier::models {

struct BaselineOptions {
  double alpha = 8e-6;         // per observation
  double settle_ticks = 15;    // the start of a series is forgotten at 1/3 a tick for this long
  double warm_up_ticks = 60;
  double cold_ticks = 3600;    // 0 = no seen-range rule
  double relearn_ticks = 1800;
  double teach_ticks = 5;
  double forgive_ticks = 10;
  double tail_shape = 0.25;
};

// The numbers of these rules, for models/robust_level.cc too.
namespace baseline_law {
inline constexpr double kExcursion = 4.0;        // |z| from which an observation is under suspicion
inline constexpr double kSuspectWeight = 0.02;   // of what a held excursion teaches
inline constexpr double kMargin = 0.25;          // of the seen range on each side: 1.5 x the range in all
inline constexpr double kInside = 2.5758293035489004;  // z of a 1-in-100 value
// A tick: the range forgets with a half-life of half the cold time.
inline double RangeForgets(double cold_ticks) { return cold_ticks > 0 ? std::min(2.0 * M_LN2 / (cold_ticks + 1.0), 1.0) : 1.0; }
}  // namespace baseline_law

// As counted in ticks of options.tick_seconds.
BaselineOptions TicksOf(const Options& options);

struct Judgement {
  double tail_probability = 1.0;
  double z = 0.0;
  double expected = 0.0, lower = 0.0, upper = 0.0;
  bool ready = false;
};

// Over a SeriesTable, or a WideTable whose four series can learn at once.
template <class Table>
class BaselineOf {
 public:
  BaselineOf(std::string_view family, uint32_t version, const BaselineOptions& options);
  int64_t series() const { return table_.series(); }
  void Resize(int64_t series) { table_.Resize(series); }
  void Forget(int64_t series) { table_.Forget(series); }
  void Copy(int64_t from, int64_t to) { table_.Copy(from, to); }
  // `floor` > 0: the least scale now. Non-finite x is the caller's to mask. Extremes are clamped to +-1e100.
  Judgement Judge(int64_t series, double x, double floor) const;
  void Learn(int64_t series, double x, double floor);
  // Learn, to the bit, for those of the four series of a WideTable's block where `taught`.
  void LearnFour(int64_t first, const double* x, const double* floor, const bool* taught);
  double magnitude(int64_t series) const { return table_.at(kMagnitude, series); }  // long-run mean of |x|
  double level(int64_t series) const { return table_.at(kLevel, series); }
  double scale(int64_t series, double floor) const;
  bool ready(int64_t series) const { return table_.at(kAge, series) >= options_.warm_up_ticks; }
  int64_t bytes_per_series() const { return table_.bytes_per_series(); }
  void Save(std::string* out) const { table_.Save(out); }
  bool Load(std::string_view* in) { return table_.Load(in); }

 private:
  enum Field { kAge, kLevel, kVariance, kMagnitude, kHalf, kTenth, kHundredth, kExcess, kExcessSquare, kLow, kHigh, kHold, kExtreme, kFields };
  // One observation beside what is known: `z` as it is, `limited` by what was seen while young.
  struct Look {
    double x, scale, z, limited;
  };
  Look See(int64_t series, double x, double floor) const;
  double Limited(int64_t series, double x, double z, double scale) const;
  Judgement Expect(int64_t series, double scale) const;
  Judgement Tell(int64_t series, const Look& look) const;
  void Teach(int64_t series, const Look& look);
  void LearnRange(int64_t series, double x, bool excursion);
  void Begin(int64_t series, double x);
  void Relearn(int64_t series, double x);
  bool TeachPair(LanePair x, LanePair floor, PairMask taught, LanePair* block);
  BaselineOptions options_;
  Table table_;
};

using Baseline = BaselineOf<SeriesTable>;
using WideBaseline = BaselineOf<WideTable>;

}  // namespace outlier::models
