// beta_binomial: calibrated where the law is its own, and no alarm for failures that come with the calls.
#include "tests/models/calibration.h"

#include "tests/models/world.h"

namespace outlier::models {
namespace {

Options Believing(double share) {
  Options options;
  options.prior.rate = share;
  options.prior.weight = 50;
  return options;
}

Eigen::ArrayXXd Failed(double failures, double calls) {
  Eigen::ArrayXXd x(2, 1);
  x << failures, calls;
  return x;
}

double LogChoose(double n, double k) { return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1); }
Counts BinomialLaw(double n, double p) {
  return Counts([=](int k) { return k > n ? 0.0 : std::exp(LogChoose(n, k) + k * std::log(p) + (n - k) * std::log1p(-p)); });
}
double BetaBinomialMass(double k, double n, double a, double b) {
  const auto log_beta = [](double x, double y) { return std::lgamma(x) + std::lgamma(y) - std::lgamma(x + y); };
  return k > n ? 0.0 : std::exp(LogChoose(n, k) + log_beta(k + a, n - k + b) - log_beta(a, b));
}

Seen ObserveFailures(const Counts& law, double calls, double believed, const Plan& plan) {
  Source source(21);
  return Observe("beta_binomial", Believing(believed), plan, true, [&](Eigen::ArrayXXd* x) {
    for (int64_t i = 0; i < plan.series; ++i) {
      (*x)(0, i) = law.Draw(&source.random);
      (*x)(1, i) = calls;
    }
  });
}

TEST(BetaBinomial, GivesIndependentFailuresUniformRandomisedProbabilities) {
  for (const auto& [calls, share] : {std::pair{20.0, 0.05}, std::pair{100.0, 0.02}, std::pair{2000.0, 0.01}, std::pair{2000.0, 0.2}}) {
    SCOPED_TRACE(testing::Message() << share << " of " << calls);
    const Seen seen = ObserveFailures(BinomialLaw(calls, share), calls, share, {.series = 300, .learn = 6000, .draws = 400});
    ExpectUniform(seen, 0.0, 0.02);
    // The correlation is never negative, so that its error is on the side of silence.
    ExpectShare(seen, 1e-2, 0.75, 1.1);
    ExpectShare(seen, 1e-3, 0.4, 1.15);
    ExpectShare(seen, 1e-4, 0.1, 1.6);
  }
}

TEST(BetaBinomial, GivesFailuresThatComeInClustersProbabilitiesOfTheRightOrder) {
  for (const double correlation : {0.01, 0.1}) {
    SCOPED_TRACE(correlation);
    const double calls = 150, share = 0.1, size = 1 / correlation - 1;
    const Counts law([=](int k) { return BetaBinomialMass(k, calls, share * size, (1 - share) * size); });
    const Seen seen = ObserveFailures(law, calls, share, {.series = 300, .learn = 6000, .draws = 400});
    ExpectShare(seen, 1e-2, 0.6, 1.5);
    ExpectShare(seen, 1e-3, 0.4, 2.0);
  }
}

// What the header says of the law for many calls, beside the binomial one, which is what calls are that it has seen to be independent.
TEST(BetaBinomial, IsWithinATenthOfTheExactTailBothWhereItSumsAndWhereItDoesNot) {
  for (const auto& [calls, share] : {std::pair{201.0, 0.01}, std::pair{1000.0, 0.2}, std::pair{20000.0, 0.01}, std::pair{4e6, 0.1}, std::pair{4e6, 0.5}}) {
    Watch watch("beta_binomial", Believing(share));
    const double deviation = std::sqrt(calls * share * (1 - share));
    for (int t = 0; t < 20000; ++t) watch.Tick(Failed(std::floor(calls * share) + (t % 2 == 0 ? 0.5 : -0.5) * deviation, calls));
    int compared = 0;
    for (double z = 0.5; z < 4.8; z += 0.3) {
      const double k = std::ceil(calls * share + z * deviation);
      const double exact = RegularizedBeta(k, calls - k + 1, share);  // of a binomial law (A&S 26.5.24)
      if (exact < 1e-6) break;
      ++compared;
      EXPECT_NEAR(watch.Ask(Failed(k, calls)).p / exact, 1.0, 0.1) << k << " of " << calls << ", share " << share;
    }
    EXPECT_GT(compared, 5);
  }
}

TEST(BetaBinomial, IsNotSurprisedByMoreFailuresOfMoreCalls) {
  Watch watch("beta_binomial", Believing(0.02));
  for (int t = 0; t < 4000; ++t) watch.Tick(Failed(t % 2 == 0 ? 1.0 : 3.0, 100.0));
  for (int t = 0; t < 60; ++t) EXPECT_LT(watch.Tick(Failed(20.0, 1000.0)).z, 3.0) << "ten times the traffic";
}

TEST(BetaBinomial, FindsAShareThatRoseThoughTheFailuresAreAsManyAsEver) {
  Watch watch("beta_binomial", Believing(0.02));
  for (int t = 0; t < 4000; ++t) watch.Tick(Failed(t % 2 == 0 ? 8.0 : 12.0, 1000.0));
  for (int t = 0; t < 5; ++t) {
    const Verdict v = watch.Tick(Failed(10.0, 40.0));
    EXPECT_GT(v.z, 5.0);
    EXPECT_LT(v.p, 1e-6);
  }
}

TEST(BetaBinomial, FindsFailuresWhereThereWereNone) {
  Watch watch("beta_binomial", Believing(0.02));
  for (int t = 0; t < 100; ++t) watch.Tick(Failed(0.0, 80.0));
  for (int t = 0; t < 60; ++t) EXPECT_GT(watch.Tick(Failed(200.0, 280.0)).z, 14.0) << t;
}

TEST(BetaBinomial, SaysNothingWhereNothingWasCalled) {
  Watch watch("beta_binomial", Believing(0.02));
  for (int t = 0; t < 100; ++t) watch.Tick(Failed(0.0, 80.0));
  const Verdict v = watch.Ask(Failed(0.0, 0.0));
  EXPECT_EQ(v.z, 0.0);
  EXPECT_EQ(v.p, 1.0);
}

}  // namespace
}  // namespace outlier::models
