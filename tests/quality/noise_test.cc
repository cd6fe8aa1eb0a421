// The laws that simulated hosts are made of are the laws they are called.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/quality/noise.h"

namespace outlier::quality {
namespace {

constexpr int kDraws = 2'000'000;

// Within five standard deviations of a binomial count.
void ExpectShare(int hits, double probability, const char* of) {
  const double mean = kDraws * probability;
  EXPECT_NEAR(hits, mean, 5 * std::sqrt(mean)) << of;
}

std::vector<int> CountBeyond(const std::vector<double>& draws, std::initializer_list<double> edges) {
  std::vector<int> hits;
  for (const double edge : edges) {
    const auto beyond = [&](double x) { return std::abs(x) > edge; };
    hits.push_back(static_cast<int>(std::count_if(draws.begin(), draws.end(), beyond)));
  }
  return hits;
}

TEST(Random, OfASeedIsTheSameEverywhere) {
  Random random(1);
  EXPECT_EQ(random.Bits(), 0xcfc5d07f6f03c29bU);  // splitmix64 and xoshiro256++ of their authors, seed 1
}

TEST(Normals, HaveTheirLawInBodyAndTail) {
  Random random(2);
  std::vector<double> draws(kDraws);
  Normals().Fill(&random, draws);
  const std::initializer_list<double> edges = {0.5, 1.0, 2.0, 3.0, 3.6541528853610088, 4.0, 4.5};  // the tail begins at the fifth
  const std::vector<int> hits = CountBeyond(draws, edges);
  for (size_t i = 0; i < edges.size(); ++i) ExpectShare(hits[i], std::erfc(edges.begin()[i] * M_SQRT1_2), "normal");
  ExpectShare(static_cast<int>(std::count_if(draws.begin(), draws.end(), [](double x) { return x > 0; })), 0.5, "sign");
  double ahead = 0;
  for (size_t i = 1; i < draws.size(); ++i) ahead += draws[i] * draws[i - 1];
  EXPECT_LT(std::abs(ahead / kDraws), 5 / std::sqrt(kDraws));
}

TEST(HeavyTails, AreStudentsOfThreeDegreesWhoseTailGoesOn) {
  Random random(3);
  std::vector<double> draws(kDraws);
  HeavyTails().Fill(Normals(), &random, draws);
  const auto beyond = [](double unit) {  // closed form of the survival function, at unit variance
    const double t = unit * std::sqrt(3.0), u = t / std::sqrt(3.0);
    return 1 - 2 / M_PI * (u / (1 + u * u) + std::atan(u));
  };
  const std::initializer_list<double> edges = {0.3, 1.0, 3.0, 10.0, 30.0, 60.0};
  const std::vector<int> hits = CountBeyond(draws, edges);
  for (size_t i = 0; i < edges.size(); ++i) ExpectShare(hits[i], beyond(edges.begin()[i]), "student");
}

TEST(Counts, HaveTheirProbabilities) {
  Random random(4);
  const Counts rare = Counts::OfPoisson(0.01), many = Counts::OfPoisson(12);
  int some = 0, two = 0, above = 0;
  for (int i = 0; i < kDraws; ++i) {
    const int n = rare.Draw(&random);
    some += n > 0;
    two += n > 1;
    above += many.Draw(&random) > 20;
  }
  ExpectShare(some, 1 - std::exp(-0.01), "one");
  ExpectShare(two, 1 - std::exp(-0.01) * 1.01, "two");
  ExpectShare(above, 0.011598, "twenty of twelve");
}

TEST(Counts, OfALogNormalRateAreItsMixture) {
  Random random(5);
  const Counts tabled = Counts::OfLogNormalRate(0.1, 1.2);
  const Normals normals;
  int by_table[4] = {}, by_rate[4] = {};
  for (int i = 0; i < kDraws; ++i) {
    const int tabled_count = tabled.Draw(&random), count = random.Poisson(0.1 * std::exp(1.2 * normals.Draw(&random)));
    for (int k = 0; k < 4; ++k) {
      by_table[k] += tabled_count > k;
      by_rate[k] += count > k;
    }
  }
  for (int k = 0; k < 4; ++k) EXPECT_NEAR(by_table[k], by_rate[k], 5 * std::sqrt(2.0 * by_rate[k])) << k;
}

}  // namespace
}  // namespace outlier::quality
