// Calibration of the families of counts, growth, silence and latencies: see tests/models/calibration.h.
#include "tests/models/calibration.h"

namespace outlier::models {
namespace {

// --- gamma_poisson ---

Counts NegativeBinomial(double mean, double size) {
  return Counts([=](int k) {
    return std::exp(std::lgamma(k + size) - std::lgamma(size) - std::lgamma(k + 1.0) + size * std::log(size / (size + mean)) +
                    k * std::log(mean / (size + mean)));
  });
}

Seen ObserveCounts(const Counts& law, double believed, const Plan& plan) {
  Options options;
  options.prior.rate = believed;
  Source source(15);
  return Observe("gamma_poisson", options, plan, true, [&](Eigen::ArrayXXd* x) {
    for (int64_t i = 0; i < plan.series; ++i) (*x)(0, i) = law.Draw(&source.random);
  });
}

TEST(GammaPoisson, GivesPoissonCountsUniformRandomisedProbabilities) {
  for (const double mean : {0.02, 0.3, 4.0, 60.0}) {
    SCOPED_TRACE(mean);
    const Seen seen = ObserveCounts(Counts::OfPoisson(mean), mean, {.series = mean > 1 ? 300 : 600, .learn = mean > 10 ? 5000 : 10000, .draws = 500});
    ExpectUniform(seen);
    // The dispersion is never less than Poisson's, so that its error is on the side of silence; of rare events it is known least.
    ExpectShare(seen, 1e-2, 0.88, 1.06);
    ExpectShare(seen, 1e-3, mean < 0.1 ? 0.4 : 0.8, 1.0);
    ExpectShare(seen, 1e-4, mean < 0.1 ? 0.1 : 0.5, 1.1);
  }
}

TEST(GammaPoisson, GivesBurstyCountsUniformRandomisedProbabilities) {
  for (const double size : {2.0, 0.5}) {
    for (const double mean : {0.3, 4.0, 60.0}) {
      SCOPED_TRACE(testing::Message() << mean << " of size " << size);
      const Seen seen = ObserveCounts(NegativeBinomial(mean, size), mean, {.series = 400, .learn = 5000, .draws = 500});
      // What is learned is cut off at four deviations, which a law of size 1/2 exceeds once in a hundred times: its mean and its spread are
      // taken for less than they are, by a hundredth of the body and a quarter of the tail.
      ExpectUniform(seen, 0.0, 0.02);
      ExpectShare(seen, 1e-2, 0.95, size < 1.0 ? 1.15 : 1.1);
      ExpectShare(seen, 1e-3, 0.9, size < 1.0 ? 1.35 : 1.2);
      ExpectShare(seen, 1e-4, 0.6, size < 1.0 ? 1.7 : 1.4);
    }
  }
}

// A rate far above the prior's: until the mean has followed, its counts are taken for dispersion, which is unlearned with one over the
// age. So p is too large, for an hour or more: never too small.
TEST(GammaPoisson, GivesARateItDidNotExpectNoProbabilityThatIsTooSmall) {
  for (const auto& [mean, least] : {std::pair{0.3, 0.9}, std::pair{4.0, 0.9}, std::pair{60.0, 0.15}}) {
    SCOPED_TRACE(mean);
    const Seen seen = ObserveCounts(Counts::OfPoisson(mean), 0.01, {.series = 200, .learn = mean > 10 ? 6000 : 20000, .draws = 400});
    ExpectShare(seen, 1e-2, least, 1.03);
    ExpectShare(seen, 1e-3, 0.5 * least, 1.0);
    ExpectShare(seen, 1e-4, 0.0, 1.0);
  }
}

// --- drift ---

// A value's memory as a half-life in seconds, for noise around a level; none, and it is a walk without one.
Seen ObserveWandering(std::optional<double> half_life, const Plan& plan) {
  Options options;
  options.tick_seconds = 2;
  options.prior.scale_floor = 0.1;
  options.prior.relative_floor = 1e-6;
  const double keeps = !half_life ? 1.0 : *half_life > 0.0 ? std::exp2(-options.tick_seconds / *half_life) : 0.0;
  const double fresh = half_life ? std::sqrt(1.0 - keeps * keeps) : 1.0;
  Source source(18);
  Eigen::ArrayXd state = Eigen::ArrayXd::NullaryExpr(plan.series, [&] { return source.Normal(); });
  return Observe("drift", options, plan, false, [&](Eigen::ArrayXXd* x) {
    for (int64_t i = 0; i < plan.series; ++i) (*x)(0, i) = 1000.0 + (state(i) = keeps * state(i) + fresh * source.Normal());
  });
}

TEST(Drift, GivesNoiseAroundALevelNoProbabilityThatIsTooSmall) {
  for (const double half_life : {0.0, 60.0}) {
    SCOPED_TRACE(half_life);
    // Past the first judgement of the longest window, which takes 17 times 600 s; a draw each 15 min.
    const Seen seen = ObserveWandering(half_life, {.series = 150, .learn = 5400, .draws = 8, .thin = 450});
    for (const double level : kLevels) ExpectShare(seen, level, 0.0, 1.0);
  }
}

// That p is of use shows on growth: tests/models/faults_test.cc. A level that wanders as slowly as the windows does grow, though nothing is
// wrong, and what grows teaches nothing of what is usual: the slower, the further below its promise is p.
TEST(Drift, TellsOfALevelThatWandersAsSlowlyAsItsWindowsAtMostAsOftenAsMeasured) {
  struct Walk {
    std::optional<double> half_life;
    double most;  // P(p <= 1e-4)
  };
  for (const Walk& walk : {Walk{600.0, 0.005}, Walk{6000.0, 0.015}, Walk{std::nullopt, 0.12}}) {
    SCOPED_TRACE(walk.half_life.value_or(INFINITY));
    ExpectShare(ObserveWandering(walk.half_life, {.series = 200, .learn = 5400, .draws = 1}), 1e-4, 0.0, walk.most / 1e-4);
  }
}

// --- silence ---

struct Rhythm {
  double active;  // share of ticks, each by chance; or
  int period;     // every so many ticks
};

class Rhythms : public testing::TestWithParam<Rhythm> {
 protected:
  static constexpr Plan kPlan{.series = 1000, .learn = 2000, .draws = 500, .thin = 20};
  static Options Counted() {
    Options options;
    options.prior.scale_floor = 0.5;
    return options;
  }
  void Fill(Eigen::ArrayXXd* x) {
    const auto [active, period] = GetParam();
    ++tick_;
    for (int64_t i = 0; i < x->cols(); ++i) {
      const bool now = period > 0 ? (tick_ + i) % period == 0 : source_.random.Uniform() < active;
      (*x)(0, i) = now ? 20.0 + 4.0 * source_.Normal() : 0.0;
    }
  }
  Source source_{19};
  int64_t tick_ = 0;
};

TEST_P(Rhythms, ThatGoOnGetNoProbabilityThatIsTooSmall) {
  const Seen seen = Observe("silence", Counted(), kPlan, false, [&](Eigen::ArrayXXd* x) { Fill(x); });
  ASSERT_EQ(seen.ready, kPlan.series * kPlan.draws);
  for (const double level : kLevels) ExpectShare(seen, level, 0.0, 1.0);
}

// Nothing is said until three times the longest spell; from there on p falls as the law says: with the true share of ticks in which a spell
// begins, and by one e-th in the true mean spell.
TEST_P(Rhythms, ThatStopGetTheProbabilityOfTheirLawThreeSpellsLater) {
  const std::unique_ptr<Model> model = MakeModel("silence", Counted());
  model->Resize(kPlan.series);
  Assessment now;
  now.ResizeToJudge(kPlan.series);
  const Eigen::Array<bool, Eigen::Dynamic, 1> mask = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(kPlan.series, true);
  Eigen::ArrayXXd x(1, kPlan.series);
  Eigen::ArrayXd spell = Eigen::ArrayXd::Zero(kPlan.series), longest = spell;
  const auto step = [&] {
    model->Step(x, mask, &now);
    for (int64_t i = 0; i < kPlan.series; ++i) spell(i) = x(0, i) > 0.0 ? 0.0 : spell(i) + 1.0;
  };
  x.setConstant(20.0);  // before the first work there is no spell
  step();
  for (int64_t t = 0; t < kPlan.learn; ++t) {
    Fill(&x);
    step();
    longest = longest.max(spell);
  }
  // The last tick is one of work: what is quiet from here on is the stop.
  x.setConstant(20.0);
  step();
  const auto [active, period] = GetParam();
  const double mean = period > 0 ? std::max(1.0, period - 1.0) : 1.0 / active;
  const double begins = period > 1 ? 1.0 / period : period == 1 ? 0.0 : active * (1.0 - active);
  Eigen::ArrayXd beyond = Eigen::ArrayXd::Constant(kPlan.series, -1.0);  // ticks past three longest spells until p <= 1e-4
  x.setConstant(0.0);
  for (int t = 1; t < 1500 && (beyond < 0.0).any(); ++t) {
    step();
    for (int64_t i = 0; i < kPlan.series; ++i) {
      if (t < 2.9 * longest(i)) {  // of which it forgets a little
        ASSERT_EQ(now.tail_probability(i), 1.0) << "series " << i << ", tick " << t;
      }
      if (beyond(i) < 0.0 && now.tail_probability(i) <= 1e-4) beyond(i) = t - 3.0 * longest(i);
    }
  }
  ASSERT_TRUE((beyond >= -1.0).all() && (beyond != -1.0).all());
  const double lawful = mean * std::log(std::max(begins, 1.0 / static_cast<double>(kPlan.learn)) / 1e-4);
  EXPECT_NEAR(beyond.mean(), lawful, 0.06 * lawful + 1.0);  // a tick is indivisible
}

INSTANTIATE_TEST_SUITE_P(Laws, Rhythms, testing::Values(Rhythm{0.05, 0}, Rhythm{0.25, 0}, Rhythm{0.8, 0}, Rhythm{0, 1}, Rhythm{0, 10}, Rhythm{0, 60}),
                         [](const testing::TestParamInfo<Rhythm>& r) {
                           return r.param.period > 0 ? "Every" + std::to_string(r.param.period)
                                                     : "ByChance" + std::to_string(static_cast<int>(100 * r.param.active));
                         });

// --- histogram_shape ---

struct Latencies {
  const char* name;
  std::function<double(double)> weight;  // of a bucket
  double calls;                          // a tick, Poisson
  double tenth, hundredth;               // what p <= .1 and .01 are of that at least
  int64_t thin = 1;
};

class LatencyLaws : public testing::TestWithParam<Latencies> {};

// The larger of two p, of the size of a change and of its being chance: P(p <= a) <= a. Of many calls the size is next to nothing, a
// quarter of an octave, however sure the change is: p is far larger than chance alone would have it.
TEST_P(LatencyLaws, GiveMultinomialDrawsNoProbabilityThatIsTooSmallAndOfFewCallsSomeThatAreSmall) {
  constexpr int kWidth = 40;
  const Latencies& law = GetParam();
  double whole = 0.0;
  for (int k = 0; k < kWidth; ++k) whole += law.weight(k);
  const Counts bucket([&](int k) { return k < kWidth ? law.weight(k) / whole : 0.0; });
  const Counts calls = Counts::OfPoisson(law.calls);
  Options options;
  options.width = kWidth;
  Source source(20);
  const Plan plan{.series = 200, .learn = 4000, .draws = 150, .thin = law.thin};
  const Seen seen = Observe("histogram_shape", options, plan, false, [&](Eigen::ArrayXXd* x) {
    x->setZero();
    for (int64_t i = 0; i < plan.series; ++i) {
      for (int n = calls.Draw(&source.random); n > 0; --n) (*x)(std::min(bucket.Draw(&source.random), kWidth - 1), i) += 1.0;
    }
  });
  ExpectUniform(seen, 0.0, 1.0);
  ExpectShare(seen, 0.1, law.tenth, 1.0);
  ExpectShare(seen, 1e-2, law.hundredth, 1.0);
  ExpectShare(seen, 1e-3, 0.0, 1.0);
  ExpectShare(seen, 1e-4, 0.0, 1.0);
}

double Bell(double k, double middle, double deviation) { return std::exp(-0.5 * (k - middle) * (k - middle) / (deviation * deviation)); }
double OneMode(double k) { return Bell(k, 14, 2); }
double Wide(double k) { return Bell(k, 14, 5); }
double TwoModes(double k) { return Bell(k, 10, 1.5) + 0.1 * Bell(k, 28, 2); }

INSTANTIATE_TEST_SUITE_P(Laws, LatencyLaws,
                         testing::Values(Latencies{"OneModeOf8Merged", OneMode, 8, 0.3, 0.08, 3}, Latencies{"OneModeOf30", OneMode, 30, 0.3, 0.08},
                                         Latencies{"OneModeOf200", OneMode, 200, 0.02, 0.0}, Latencies{"WideOf3Merged", Wide, 3, 0.25, 0.05, 8},
                                         Latencies{"WideOf30", Wide, 30, 0.3, 0.08}, Latencies{"WideOf200", Wide, 200, 0.15, 0.01},
                                         Latencies{"TwoModesOf30", TwoModes, 30, 0.25, 0.05}, Latencies{"TwoModesOf200", TwoModes, 200, 0.2, 0.04}),
                         [](const testing::TestParamInfo<Latencies>& l) { return std::string(l.param.name); });

}  // namespace
}  // namespace outlier::models
