// Closed forms against integration, and what is learned. Whether probabilities mean what they say: calibration_test.cc.
#include <gtest/gtest.h>

#include <limits>

#include "models/special.h"
#include "models/tail.h"
#include "tests/models/world.h"

namespace outlier::models {
namespace {

// Composite Simpson rule.
double Integral(const std::function<double(double)>& f, double a, double b, int n = 20000) {
  const double h = (b - a) / n;
  double sum = f(a) + f(b);
  for (int i = 1; i < n; ++i) sum += f(a + i * h) * (i % 2 ? 4 : 2);
  return sum * h / 3;
}

TEST(Special, NormalTailEqualsItsIntegralAndQuantileInvertsIt) {
  for (const double a : {0.1, 0.6745, 1.0, 2.5758, 4.0}) {
    const double integral = 2 * Integral([](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); }, a, 12.0);
    EXPECT_NEAR(NormalTwoSidedTail(a), integral, 1e-9 * integral + 1e-14);
  }
  for (const double p : {1e-200, 1e-12, 1e-3, 0.02, 0.3, 0.5, 0.9}) {
    EXPECT_NEAR(0.5 * std::erfc(NormalUpperQuantile(p) * M_SQRT1_2) / p, 1.0, 1e-6) << p;
  }
}

TEST(Special, LogarithmsOfManyAtOnceAreThoseOfOneByOne) {
  std::vector<double> x;
  for (double v = 1e-12; v < 1e12; v *= 1.0037) x.push_back(v);
  for (int n = 0; n < 4000; ++n) x.push_back(n * 1e-3);
  x.push_back(-1.0);
  x.push_back(1e300);
  if (x.size() % 2 == 0) x.push_back(7.0);  // the last one is alone
  std::vector<double> out(x.size());
  for (const double times : {1.0, 0.1, 20.0}) {
    LogOfOnePlus(x, times, out.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double lawful = x[i] > 0 ? std::log1p(x[i] * times) : 0.0;
      ASSERT_NEAR(out[i], lawful, 5e-16 * std::max(1.0, lawful)) << x[i];
    }
  }
  const double odd[] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), 1.0};
  LogOfOnePlus(odd, 1.0, out.data());
  EXPECT_FALSE(std::isfinite(out[0]));
  EXPECT_FALSE(std::isfinite(out[1]) && out[1] != 0.0);
}

TEST(Special, IncompleteBetaEqualsItsIntegral) {
  for (const double a : {1.0, 2.5, 40.0}) {
    for (const double b : {1.0, 3.0, 17.0}) {
      const auto density = [&](double t) { return std::pow(t, a - 1) * std::pow(1 - t, b - 1); };
      const double whole = Integral(density, 0, 1);
      for (const double x : {0.05, 0.3, 0.72, 0.95}) EXPECT_NEAR(RegularizedBeta(a, b, x), Integral(density, 0, x) / whole, 1e-7);
    }
  }
}

TEST(Special, ChiSquareTailEqualsItsIntegral) {
  for (const double k : {2.0, 3.0, 11.0}) {
    for (const double x : {0.5, 3.0, 20.0, 60.0}) {
      const double integral =
          Integral([&](double t) { return std::exp((k / 2 - 1) * std::log(t) - t / 2 - k / 2 * M_LN2 - std::lgamma(k / 2)); }, x, x + 200);
      EXPECT_NEAR(ChiSquareTail(x, k), integral, 1e-6 * integral + 1e-12) << k << " " << x;
    }
  }
}

TEST(Special, NegativeBinomialTailEqualsTheSumOfItsTerms) {
  const double mean = 3.7, size = 1.9;
  double left = 1.0;
  for (int n = 0; n < 60; ++n) {
    EXPECT_NEAR(NegativeBinomialTail(n, mean, size), left, 1e-10) << n;
    left -= std::exp(std::lgamma(n + size) - std::lgamma(size) - std::lgamma(n + 1.0) + size * std::log(size / (size + mean)) +
                     n * std::log(mean / (size + mean)));
  }
}

TEST(TailLaw, IsContinuousDecreasingAndNeverZero) {
  const Tail tail = Tail::Prior(0.25);
  double last = 1.0;
  EXPECT_EQ(tail.Probability(0, 0.25), 1.0);
  for (double a = 0.01; a < 1000; a *= 1.01) {
    const double p = tail.Probability(a, 0.25);
    ASSERT_LT(p, last);
    ASSERT_GT(p, 0.0);
    last = p;
  }
  EXPECT_NEAR(tail.Probability(tail.hundredth - 1e-9, 0.25), 0.01, 1e-8);
  EXPECT_NEAR(tail.Probability(tail.hundredth + 1e-9, 0.25), 0.01, 1e-8);
}

TEST(TailLaw, OfTheExcessIsTheGeneralisedParetoItNames) {
  // Moments of the prior against integration of the survival function (1 + xi y / sigma)^(-1/xi).
  const double xi = 0.2, sigma = 0.4;
  const Tail tail = Tail::Prior(xi);
  const auto survival = [&](double y) { return std::pow(1 + xi * y / sigma, -1 / xi); };
  EXPECT_NEAR(tail.excess, Integral(survival, 0, 400, 400000), 1e-3);
  EXPECT_NEAR(tail.excess_square, Integral([&](double y) { return 2 * y * survival(y); }, 0, 2000, 2000000), 1e-2);
}

TEST(RobustLevel, RecoversLevelAndScale) {
  std::mt19937_64 random(21);
  Options options;
  options.prior.scale_floor = 1e-3;
  Watch watch("robust_level", options);
  for (int t = 0; t < 20000; ++t) watch.Tick(50 + 7 * std::normal_distribution<double>()(random));
  const Verdict v = watch.Ask(50 + 7 * 3);
  EXPECT_NEAR(v.expected, 50, 0.5);
  EXPECT_NEAR(v.z, 3, 0.15);
}

TEST(RobustLevel, NeverBelievesASpreadBelowItsFloors) {
  Options options;
  options.prior.scale_floor = 2.0;
  options.prior.relative_floor = 0.01;
  Watch small("robust_level", options), large("robust_level", options);
  for (int t = 0; t < 4000; ++t) {
    small.Tick(10);
    large.Tick(1000);
  }
  EXPECT_NEAR(small.Ask(16).z, 3.0, 1e-9);
  EXPECT_NEAR(large.Ask(1030).z, 3.0, 1e-6);
}

TEST(RobustLevel, AfterAMinuteNothingInsideTheSeenRangeIsRarerThanOneInAHundred) {
  std::mt19937_64 random(22);
  for (int run = 0; run < 200; ++run) {
    Options options;
    options.warm_up_seconds = 45;
    Watch watch("robust_level", options);
    double low = 1e9, high = -1e9;
    for (int t = 0; t < 60; ++t) {
      const double x = std::exp(2 * std::normal_distribution<double>()(random));
      watch.Tick(x);
      if (t >= 12) low = std::min(low, x), high = std::max(high, x);
    }
    watch.Tick(1.0);  // whatever was under suspicion has ended
    // The range and the rule have faded by 2 % in this time.
    for (const double share : {0.05, 0.3, 0.7, 0.95}) ASSERT_GT(watch.Ask(low + share * (high - low)).p, 0.0085);
  }
}

TEST(GammaPoisson, RecoversARate) {
  std::mt19937_64 random(24);
  Watch watch("gamma_poisson", Options{});
  for (int t = 0; t < 20000; ++t) watch.Tick(std::poisson_distribution<int>(2.5)(random));
  EXPECT_NEAR(watch.Ask(0).expected, 2.5, 0.1);
}

// Of what does not remember from one minute to the next, of what remembers an hour, so that its hours are not quite exchangeable, and of maxima that fall off exponentially.
TEST(HeldRecord, IsNotBrokenMoreOftenThanItsProbabilitySays) {
  std::mt19937_64 random(25);
  std::normal_distribution<double> normal;
  Options options;
  options.tick_seconds = 60;
  options.prior.scale_floor = 1e-9;
  constexpr int kRuns = 300, kTicks = 72 * 60;
  for (const double memory : {0.0, 0.98}) {
    for (const bool exponential : {false, true}) {
      double judged = 0;
      std::array<double, 3> hits{};
      constexpr std::array<double, 3> kLevels = {1e-2, 1e-3, 1e-4};
      for (int run = 0; run < kRuns; ++run) {
        Watch watch("held_record", options);
        double state = 0;
        for (int t = 0; t < kTicks; ++t) {
          state = memory * state + std::sqrt(1 - memory * memory) * normal(random);
          const double p = watch.Tick(exponential ? state * std::abs(state) : state).p;
          if (t < 30 * 60) continue;
          judged += 1;
          for (size_t level = 0; level < kLevels.size(); ++level) hits[level] += p <= kLevels[level] ? 1 : 0;
        }
      }
      for (size_t level = 0; level < kLevels.size(); ++level) {
        EXPECT_LE(hits[level], (memory > 0 ? 2.0 : 1.0) * kLevels[level] * judged) << memory << " " << exponential << " " << kLevels[level];
      }
      EXPECT_GT(hits[0], 0) << memory << " " << exponential;
    }
  }
}

TEST(Silence, SaysNothingOfPoissonTrafficThatRestsByChance) {
  std::mt19937_64 random(26);
  Options options;
  options.prior.scale_floor = 0.5;
  Watch watch("silence", options);
  int hits = 0;
  for (int t = 0; t < 50000; ++t) hits += watch.Tick(std::poisson_distribution<int>(1.5)(random)).z < -6;
  EXPECT_LE(hits, 5);
}

TEST(Silence, SaysLittleOfAStreamThatWandersToNothingAndBack) {
  std::mt19937_64 random(27);
  std::normal_distribution<double> normal;
  Options options;
  options.prior.scale_floor = 0.5;
  constexpr double kMemory = 0.98, kSpread = 0.3;
  int spells = 0, alarming = 0;
  for (int run = 0; run < 40; ++run) {
    Watch watch("silence", options);
    double state = 0, last = 0;
    for (int t = 0; t < 20000; ++t) {
      state = kMemory * state + std::sqrt(1 - kMemory * kMemory) * normal(random);
      const double z = watch.Tick(std::max(100 * (1 + kSpread * state), 0.0)).z;
      spells += z < 0 && last == 0;
      alarming += z < -4 && last >= -4;
      last = z;
    }
  }
  EXPECT_GE(spells, 40);
  EXPECT_LE(alarming, 2);
}

}  // namespace
}  // namespace outlier::models
