// Model: mathematics with state for many series at once. Pure: no I/O, no clock, no randomness, nothing of the tree
// outside models/.
//
// A model holds `series()` independent baselines in structure-of-arrays form. One call handles one tick of all series:
// `x` has width() rows and series() columns, `mask(i)` says whether series i was observed (absence is a mask, never NaN
// or 0; an infinity or NaN counts as masked). Score is const and is called before Update with the same x, so a tick is judged by what was
// learned before it; Step is both. A batch of T ticks is T such pairs, hence gives exactly what T batches of one tick give.
// Nothing is allocated in Score, Update and Step; Resize allocates. Not thread-safe; independent instances are independent.
#pragma once
#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace outlier::models {

using Values = Eigen::Ref<const Eigen::ArrayXXd>;
using FloatValues = Eigen::Ref<const Eigen::ArrayXXf>;
using SeriesMask = Eigen::Ref<const Eigen::Array<bool, Eigen::Dynamic, 1>>;

// Results of one tick, one entry a series; caller-owned, sized series(). Who needs no more than the judgement leaves the columns of
// what was expected empty; who asks only of what departs sets `notable`: most of the work of telling is spared then.
struct Assessment {
  double notable = 0.0;             // where |z| is less, nothing but z and ready is told, and the other columns may hold anything
  Eigen::ArrayXd tail_probability;  // (0, 1]: P(at least this extreme | baseline); 1 where masked or not ready
  Eigen::ArrayXd z;                 // signed, + = up; robust z, or the z that has this tail probability; finite
  Eigen::Array<bool, Eigen::Dynamic, 1> ready;
  Eigen::ArrayXd expected;          // in the unit of x
  Eigen::ArrayXd lower, upper;      // central interval outside of which p < 0.01 of the baseline, unit of x
  Eigen::ArrayXd rate;              // growth per second for drift, else 0
  void Resize(int64_t series);
  void ResizeToJudge(int64_t series);  // the last four stay empty
  bool Wants(double of_z) const { return std::abs(static_cast<float>(of_z)) >= notable; }
  bool wants_expected() const { return expected.size() > 0; }
  void Expect(int64_t i, double expected_value, double from, double to, double growth = 0.0) {
    if (!wants_expected()) return;
    expected(i) = expected_value;
    lower(i) = from;
    upper(i) = to;
    rate(i) = growth;
  }
};

// What is believed of a series before it is seen: by kind of signal. Documented with its reason beside each kind.
struct Prior {
  double scale_floor = 1.0;       // least credible standard deviation, unit of x
  double relative_floor = 0.01;   // least scale as a share of the long-run mean magnitude
  double tail_shape = 0.25;       // generalised-Pareto xi
  double rate = 0.01;             // counts: expected events a second
  double weight = 60.0;           // counts: seconds this expectation is worth
};

struct Options {
  double tick_seconds = 1.0;
  double half_life_seconds = 86400.0;
  double warm_up_seconds = 60.0;
  double judge_seconds = -1.0;      // age from which robust_level judges, where that is not warm_up_seconds; < 0: it is
  double relearn_seconds = 1800.0;  // a level that held this long is accepted as the new normal
  double cold_seconds = 3600.0;     // age until which a value inside the seen range never is surprising; 0 = never
  Prior prior;
  int width = 1;                  // rows of x
};

class Model {
 public:
  virtual ~Model() = default;
  virtual std::string_view name() const = 0;
  virtual int width() const = 0;
  virtual int64_t series() const = 0;
  virtual void Resize(int64_t series) = 0;   // keeps what is there; new series know only the prior
  virtual void Forget(int64_t series) = 0;   // back to the prior
  virtual void Adopt(int64_t from, int64_t to) = 0;  // `to` knows what `from` knows, from here on on its own
  virtual void Score(const Values& x, const SeriesMask& mask, Assessment* out) const = 0;
  virtual void Update(const Values& x, const SeriesMask& mask) = 0;
  // Score, then Update, to the bit. A family overrides it where one pass over the state is cheaper than two.
  virtual void Step(const Values& x, const SeriesMask& mask, Assessment* out);
  // Step, to the bit, of numbers that are in single precision already: half of the memory. A family that is not fed by such widens them, and
  // that allocates.
  virtual void StepCounts(const FloatValues& x, const SeriesMask& mask, Assessment* out);
  // `ticks` passed in which nothing could be observed, of any series; < 0: the clock was set back, by less than a week. For families that know the hour of the
  // day, or count time.
  virtual void Skip(int64_t ticks) { (void)ticks; }
  virtual int64_t state_bytes_per_series() const = 0;
  // Restores give equal bits. Load returns false, and changes nothing, for bytes that Save of this class did not write.
  virtual void Save(std::string* out) const = 0;
  virtual bool Load(std::string_view bytes) = 0;
};

// Every model by name, from models/models.def: the conformance suite iterates this list.
struct Registration {
  std::string_view name;
  std::unique_ptr<Model> (*make)(const Options&);
};
extern const Registration kModels[];
extern const int kModelCount;

}  // namespace outlier::models
