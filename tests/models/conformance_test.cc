// What every line of models.def promises, whatever its mathematics.
#define EIGEN_RUNTIME_NO_MALLOC
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>

#include "models/model.h"

namespace {
// Counts allocations of every kind: Eigen's own switch sees only Eigen's.
thread_local int64_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t alignment) {
  ++allocations;
  if (void* p = std::aligned_alloc(static_cast<size_t>(alignment), size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace outlier::models {
namespace {

constexpr int kSeries = 7;
constexpr int kTicks = 400;
using Mask = Eigen::Array<bool, Eigen::Dynamic, 1>;

struct Tick {
  Eigen::ArrayXXd x;
  Mask mask;
};

class EveryModel : public testing::TestWithParam<int> {
 protected:
  static Options MakeOptions() {
    Options options;
    options.warm_up_seconds = 30;
    options.width = 6;
    return options;
  }
  static std::unique_ptr<Model> Make(int64_t series = kSeries) {
    auto model = kModels[GetParam()].make(MakeOptions());
    model->Resize(series);
    return model;
  }
  // Series with noise, gaps, bursts and long runs of zeros; never negative, because counts are not.
  static std::vector<Tick> World(int width, uint64_t seed, int ticks = kTicks) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    std::vector<Tick> out(ticks);
    for (int t = 0; t < ticks; ++t) {
      out[t].x.resize(width, kSeries);
      out[t].mask.resize(kSeries);
      for (int i = 0; i < kSeries; ++i) {
        out[t].mask(i) = random() % 11 != 0;
        for (int k = 0; k < width; ++k) {
          const double burst = random() % 37 == 0 ? 50.0 : 0.0;
          out[t].x(k, i) = i == 0 ? 0.0 : std::floor(std::abs(10.0 + 3.0 * normal(random)) + burst + (i == 1 ? t : 0));
        }
      }
    }
    return out;
  }
  static Assessment Score(const Model& model, const Tick& tick) {
    Assessment out;
    out.Resize(model.series());
    model.Score(tick.x, tick.mask, &out);
    return out;
  }
  static void ExpectEqual(const Assessment& a, const Assessment& b, const std::string& where) {
    EXPECT_TRUE((a.tail_probability == b.tail_probability).all()) << where;
    EXPECT_TRUE((a.z == b.z).all()) << where;
    EXPECT_TRUE((a.expected == b.expected).all()) << where;
    EXPECT_TRUE((a.lower == b.lower).all()) << where;
    EXPECT_TRUE((a.upper == b.upper).all()) << where;
    EXPECT_TRUE((a.rate == b.rate).all()) << where;
    EXPECT_TRUE((a.ready == b.ready).all()) << where;
  }
  static void ExpectSane(const Assessment& a, const std::string& where) {
    EXPECT_TRUE((a.tail_probability > 0.0).all() && (a.tail_probability <= 1.0).all()) << where;
    EXPECT_TRUE((a.z.abs() <= 1000.0).all()) << where;
    for (const Eigen::ArrayXd* v : {&a.expected, &a.lower, &a.upper, &a.rate}) EXPECT_TRUE(v->isFinite().all()) << where;
    EXPECT_TRUE((a.lower <= a.expected).all() && (a.expected <= a.upper).all()) << where;
  }
};

TEST_P(EveryModel, ScoringIsPureAndLeavesItsInputsUnchanged) {
  auto model = Make();
  for (const Tick& tick : World(model->width(), 1)) {
    const Tick copy = tick;
    std::string before, after;
    model->Save(&before);
    const Assessment first = Score(*model, tick), second = Score(*model, tick);
    ExpectEqual(first, second, "second scoring");
    model->Save(&after);
    ASSERT_EQ(before, after);
    model->Update(tick.x, tick.mask);
    ASSERT_TRUE((copy.x == tick.x).all() && (copy.mask == tick.mask).all());
  }
}

TEST_P(EveryModel, StepsAsItScoresAndThenLearnsToTheBit) {
  // Values of any size, holes and poison included, and a number of series that fills no vector.
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e300, -1e18, 1e-310, 0.0};
  auto apart = Make(), at_once = Make();
  Assessment out;
  out.Resize(kSeries);
  std::mt19937_64 random(12);
  for (Tick tick : World(apart->width(), 12)) {
    if (random() % 5 == 0) tick.x.col(random() % kSeries).setConstant(bad[random() % 6]);
    const Assessment expected = Score(*apart, tick);
    apart->Update(tick.x, tick.mask);
    at_once->Step(tick.x, tick.mask, &out);
    ExpectEqual(out, expected, "step");
    std::string a, b;
    apart->Save(&a);
    at_once->Save(&b);
    ASSERT_EQ(a, b);
  }
}

// Spells without events, of noise and of growth, which all series have together, with holes, ends and beginnings.
std::vector<Tick> Alike(int width, int series, int ticks, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<Tick> out(ticks);
  for (int t = 0; t < ticks; ++t) {
    out[t].x.resize(width, series);
    out[t].mask.setConstant(series, t % 1000 < 980);
    if (random() % 40 == 0) out[t].mask(random() % series) = !out[t].mask(0);
    const int spell = t / 400 % 4;
    for (int i = 0; i < series; ++i) {
      for (int k = 0; k < width; ++k) {
        const double noise = std::abs(20.0 + 3.0 * normal(random)), event = random() % 300 == 0 ? noise : 0.0;
        out[t].x(k, i) = std::floor(k > 0 ? noise : spell % 2 == 0 ? event : spell == 1 ? 10.0 * noise : noise + 3.0 * (t % 400));
      }
    }
  }
  return out;
}

TEST_P(EveryModel, StepsFourSeriesAtOnceAsItScoresAndLearnsThemAloneToTheBit) {
  constexpr int kMany = 10, kLong = 5000;
  Options options = MakeOptions();
  options.half_life_seconds = 1800;
  options.relearn_seconds = 150;
  options.cold_seconds = 900;
  if (kModels[GetParam()].name == "held_record") options.tick_seconds = 30;  // many minutes, each of more than a tick
  auto alone = kModels[GetParam()].make(options), at_once = kModels[GetParam()].make(options);
  Assessment all, some;
  for (Assessment* a : {&all, &some}) a->Resize(kMany);
  some.notable = 3.0;
  for (auto* model : {&alone, &at_once}) (*model)->Resize(kMany);
  int notable = 0, t = 0;
  for (const Tick& tick : Alike(alone->width(), kMany, kLong, 15)) {
    alone->Score(tick.x, tick.mask, &all);
    alone->Update(tick.x, tick.mask);
    at_once->Step(tick.x, tick.mask, &some);
    ASSERT_TRUE((all.z == some.z).all() && (all.ready == some.ready).all()) << t;
    for (int i = 0; i < kMany; ++i) {
      if (!some.Wants(all.z(i))) continue;
      ++notable;
      ASSERT_EQ(all.tail_probability(i), some.tail_probability(i)) << t;
      ASSERT_EQ(all.expected(i), some.expected(i)) << t;
    }
    if (++t % 100 != 0) continue;
    std::string a, b;
    alone->Save(&a);
    at_once->Save(&b);
    ASSERT_EQ(a, b) << t;
  }
  if (alone->name() != "mahalanobis" && alone->name() != "rhythm" && alone->name() != "silence" && alone->name() != "held_record") EXPECT_GT(notable, 0);
}

TEST_P(EveryModel, StepsCountsInSinglePrecisionAsTheSameNumbersToTheBit) {
  auto doubles = Make(), floats = Make();
  Assessment expected, out;
  for (Assessment* a : {&expected, &out}) a->Resize(kSeries);
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e18, -1.0, 0.0};
  std::mt19937_64 random(16);
  for (Tick tick : World(doubles->width(), 16)) {
    if (random() % 5 == 0) tick.x(random() % doubles->width(), random() % kSeries) = bad[random() % 5];
    const Eigen::ArrayXXf narrow = tick.x.cast<float>();
    tick.x = narrow.cast<double>();
    doubles->Step(tick.x, tick.mask, &expected);
    floats->StepCounts(narrow, tick.mask, &out);
    ExpectEqual(out, expected, "counts");
  }
  std::string a, b;
  doubles->Save(&a);
  floats->Save(&b);
  EXPECT_EQ(a, b);
}

TEST_P(EveryModel, JudgesTheSameForOneWhoDoesNotAskWhatWasExpected) {
  auto asked = Make(), unasked = Make();
  Assessment all, judgement;
  all.Resize(kSeries);
  judgement.ResizeToJudge(kSeries);
  for (const Tick& tick : World(asked->width(), 13)) {
    asked->Step(tick.x, tick.mask, &all);
    unasked->Step(tick.x, tick.mask, &judgement);
    ASSERT_TRUE((all.tail_probability == judgement.tail_probability).all());
    ASSERT_TRUE((all.z == judgement.z).all());
    ASSERT_TRUE((all.ready == judgement.ready).all());
    ASSERT_FALSE(judgement.wants_expected());
  }
}

// Families spare work there: a column that holds something else below the threshold, but no other z, and no other state, may come of it.
TEST_P(EveryModel, TellsTheSameOfWhatIsNotableToOneWhoAsksForNothingElse) {
  auto asked_all = Make(), asked_some = Make();
  Assessment all, some;
  all.Resize(kSeries);
  some.Resize(kSeries);
  some.notable = 3.0;
  for (const Tick& tick : World(asked_all->width(), 14)) {
    asked_all->Step(tick.x, tick.mask, &all);
    asked_some->Step(tick.x, tick.mask, &some);
    ASSERT_TRUE((all.z == some.z).all());
    ASSERT_TRUE((all.ready == some.ready).all());
    for (int i = 0; i < kSeries; ++i) {
      if (!some.Wants(all.z(i))) continue;
      ASSERT_EQ(all.tail_probability(i), some.tail_probability(i)) << i;
      ASSERT_EQ(all.expected(i), some.expected(i)) << i;
      ASSERT_EQ(all.lower(i), some.lower(i)) << i;
      ASSERT_EQ(all.upper(i), some.upper(i)) << i;
      ASSERT_EQ(all.rate(i), some.rate(i)) << i;
    }
    std::string a, b;
    asked_all->Save(&a);
    asked_some->Save(&b);
    ASSERT_EQ(a, b);
  }
}

TEST_P(EveryModel, GivesProbabilitiesAndFiniteNumbersOnAMixedWorld) {
  auto model = Make();
  for (const Tick& tick : World(model->width(), 2)) {
    const Assessment a = Score(*model, tick);
    ExpectSane(a, "mixed world");
    for (int i = 0; i < kSeries; ++i) {
      if (!tick.mask(i) || !a.ready(i)) {
        EXPECT_EQ(a.tail_probability(i), 1.0);
        EXPECT_EQ(a.z(i), 0.0);
      }
    }
    model->Update(tick.x, tick.mask);
  }
}

TEST_P(EveryModel, AMaskedSeriesIsUntouchedByWhatStandsInItsPlace) {
  auto a = Make(), b = Make();
  for (Tick tick : World(a->width(), 3)) {
    a->Update(tick.x, tick.mask);
    for (int i = 0; i < kSeries; ++i) {
      if (!tick.mask(i)) tick.x.col(i).setConstant(1e30);
    }
    b->Update(tick.x, tick.mask);
    ExpectEqual(Score(*a, tick), Score(*b, tick), "masked");
  }
}

TEST_P(EveryModel, TakesInfinitiesAndNotANumberAsMissing) {
  for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()}) {
    auto a = Make(), b = Make();
    int t = 0;
    for (Tick tick : World(a->width(), 4)) {
      const bool poisoned = t++ % 5 == 0;
      Tick missing = tick;
      if (poisoned) {
        tick.x.col(2).setConstant(bad);
        missing.mask(2) = false;
      }
      const Assessment of_a = Score(*a, tick);
      ExpectSane(of_a, "poisoned");
      ExpectEqual(of_a, Score(*b, missing), "as missing");
      a->Update(tick.x, tick.mask);
      b->Update(missing.x, missing.mask);
    }
  }
}

TEST_P(EveryModel, SurvivesHugeTinyAndDenormalValues) {
  auto model = Make();
  const double extremes[] = {std::numeric_limits<double>::max(), std::numeric_limits<double>::denorm_min(), 0.0, 1e-310, 1e300, 1.0, 1e18};
  Tick tick{Eigen::ArrayXXd(model->width(), kSeries), Mask::Constant(kSeries, true)};
  for (int t = 0; t < 2000; ++t) {
    for (int i = 0; i < kSeries; ++i) tick.x.col(i).setConstant(extremes[(t / (1 + i) + i) % 7]);
    ExpectSane(Score(*model, tick), "extremes at tick " + std::to_string(t));
    model->Update(tick.x, tick.mask);
  }
}

TEST_P(EveryModel, SaysNothingAboutAConstant) {
  auto model = Make();
  Tick tick{Eigen::ArrayXXd::Constant(model->width(), kSeries, 3.0), Mask::Constant(kSeries, true)};
  for (int t = 0; t < 3000; ++t) {
    const Assessment a = Score(*model, tick);
    ASSERT_TRUE((a.tail_probability >= 0.01).all()) << "tick " << t;
    ASSERT_TRUE((a.z.abs() < 3.0).all()) << "tick " << t;
    model->Update(tick.x, tick.mask);
  }
  EXPECT_TRUE(Score(*model, tick).ready.all());
}

TEST_P(EveryModel, GivesEqualBitsForEqualInputsAndAfterSaveAndRestoreAtAnyMoment) {
  const auto world = World(Make()->width(), 5);
  auto model = Make(), twin = Make();
  std::unique_ptr<Model> restored;
  for (int t = 0; t < kTicks; ++t) {
    ExpectEqual(Score(*model, world[t]), Score(*twin, world[t]), "twin");
    if (restored) ExpectEqual(Score(*model, world[t]), Score(*restored, world[t]), "restored");
    for (Model* m : {model.get(), twin.get(), restored.get()}) {
      if (m != nullptr) m->Update(world[t].x, world[t].mask);
    }
    if (t % 97 == 3) {
      std::string bytes, again;
      model->Save(&bytes);
      restored = Make(0);
      ASSERT_TRUE(restored->Load(bytes));
      ASSERT_EQ(restored->series(), kSeries);
      restored->Save(&again);
      ASSERT_EQ(bytes, again);
    }
  }
}

TEST_P(EveryModel, RefusesBytesItDidNotWriteAndStaysAsItWas) {
  auto model = Make();
  for (const Tick& tick : World(model->width(), 6, 60)) model->Update(tick.x, tick.mask);
  std::string good;
  model->Save(&good);
  auto unchanged = [&] {
    std::string now;
    model->Save(&now);
    return now == good;
  };
  for (size_t n = 0; n < good.size(); n += 1 + good.size() / 300) {
    EXPECT_FALSE(model->Load(std::string_view(good).substr(0, n))) << "cut at " << n;
    EXPECT_TRUE(unchanged());
  }
  EXPECT_FALSE(model->Load(good + "x"));
  std::mt19937_64 random(7);
  for (int n = 0; n < 300; ++n) {
    std::string noise(random() % 200, ' ');
    for (char& c : noise) c = static_cast<char>(random());
    EXPECT_FALSE(model->Load(noise));
  }
  // Every byte of the header counts; a huge length there must not be believed.
  for (size_t n = 0; n < 20; ++n) {
    std::string bad = good;
    bad[n] = static_cast<char>(bad[n] ^ 0x7f);
    EXPECT_FALSE(model->Load(bad)) << "byte " << n;
    EXPECT_TRUE(unchanged());
  }
  for (int other = 0; other < kModelCount; ++other) {
    if (other == GetParam()) continue;
    auto stranger = kModels[other].make(MakeOptions());
    stranger->Resize(kSeries);
    EXPECT_FALSE(stranger->Load(good)) << kModels[other].name;
  }
}

TEST_P(EveryModel, KeepsWhatItKnowsWhenItGrowsAndStartsNewSeriesFresh) {
  const auto world = World(Make()->width(), 8);
  auto grown = Make(3), whole = Make();
  for (int t = 0; t < 100; ++t) {
    grown->Update(world[t].x.leftCols(3), world[t].mask.head(3));
    Mask first = world[t].mask;
    first.tail(kSeries - 3).setConstant(false);
    whole->Update(world[t].x, first);
  }
  grown->Resize(kSeries);
  for (int t = 100; t < kTicks; ++t) {
    ExpectEqual(Score(*grown, world[t]), Score(*whole, world[t]), "grown");
    grown->Update(world[t].x, world[t].mask);
    whole->Update(world[t].x, world[t].mask);
  }
}

TEST_P(EveryModel, ForgetsOneSeriesWhollyAndNoOther) {
  const auto world = World(Make()->width(), 9);
  auto model = Make(), fresh = Make(), kept = Make();
  for (int t = 0; t < 150; ++t) {
    model->Update(world[t].x, world[t].mask);
    kept->Update(world[t].x, world[t].mask);
  }
  model->Forget(4);
  for (int t = 150; t < kTicks; ++t) {
    const Assessment a = Score(*model, world[t]), b = Score(*fresh, world[t]), c = Score(*kept, world[t]);
    EXPECT_EQ(a.tail_probability(4), b.tail_probability(4));
    EXPECT_EQ(a.z(4), b.z(4));
    EXPECT_EQ(a.ready(4), b.ready(4));
    EXPECT_EQ(a.expected(4), b.expected(4));
    EXPECT_EQ(a.z(5), c.z(5));
    EXPECT_EQ(a.expected(3), c.expected(3));
    for (Model* m : {model.get(), fresh.get(), kept.get()}) m->Update(world[t].x, world[t].mask);
  }
}

TEST_P(EveryModel, ASeriesThatAdoptsAnotherJudgesAsItDoesAndGoesOnAlone) {
  const auto world = World(Make()->width(), 12);
  auto model = Make(), kept = Make();
  for (int t = 0; t < 150; ++t) {
    model->Update(world[t].x, world[t].mask);
    kept->Update(world[t].x, world[t].mask);
  }
  model->Adopt(5, 2);
  for (int t = 150; t < kTicks; ++t) {
    Tick same = world[t];
    same.x.col(2) = same.x.col(5);
    same.mask(2) = same.mask(5);
    const Assessment a = Score(*model, same), b = Score(*kept, world[t]);
    EXPECT_EQ(a.tail_probability(2), a.tail_probability(5));
    EXPECT_EQ(a.z(2), a.z(5));
    EXPECT_EQ(a.expected(2), a.expected(5));
    EXPECT_EQ(a.ready(2), a.ready(5));
    EXPECT_EQ(a.z(5), b.z(5));
    EXPECT_EQ(a.z(3), b.z(3));
    model->Update(same.x, same.mask);
    kept->Update(world[t].x, world[t].mask);
  }
}

TEST_P(EveryModel, SeriesDoNotInfluenceOneAnother) {
  const auto world = World(Make()->width(), 10);
  auto all = Make(), one = Make(1);
  for (const Tick& tick : world) {
    const Assessment a = Score(*all, tick);
    Tick own{tick.x.col(6), tick.mask.segment(6, 1)};
    const Assessment b = Score(*one, own);
    ASSERT_EQ(a.tail_probability(6), b.tail_probability(0));
    ASSERT_EQ(a.z(6), b.z(0));
    all->Update(tick.x, tick.mask);
    one->Update(own.x, own.mask);
  }
}

TEST_P(EveryModel, AllocatesNothingWhileItScoresLearnsAndSteps) {
  auto model = Make();
  const auto world = World(model->width(), 11);
  Assessment out;
  out.Resize(kSeries);
  const int64_t before = allocations;
  Eigen::internal::set_is_malloc_allowed(false);
  for (const Tick& tick : world) {
    model->Score(tick.x, tick.mask, &out);
    model->Update(tick.x, tick.mask);
    model->Step(tick.x, tick.mask, &out);
  }
  Eigen::internal::set_is_malloc_allowed(true);
  EXPECT_EQ(allocations, before);
}

TEST_P(EveryModel, SaysHowManyBytesItKeepsAndKeepsNoMore) {
  std::string small, large;
  Make(10)->Save(&small);
  Make(1010)->Save(&large);
  EXPECT_EQ(static_cast<int64_t>(large.size() - small.size()), 1000 * Make()->state_bytes_per_series());
  // A scalar series of all models stays under 2 KiB: thousands of workloads fit into the memory budget.
  EXPECT_LE(Make()->state_bytes_per_series(), 2048);
}

TEST_P(EveryModel, IsRegisteredUnderItsOwnName) { EXPECT_EQ(Make()->name(), kModels[GetParam()].name); }

INSTANTIATE_TEST_SUITE_P(Models, EveryModel, testing::Range(0, kModelCount),
                         [](const testing::TestParamInfo<int>& info) { return std::string(kModels[info.param].name); });

}  // namespace
}  // namespace outlier::models
