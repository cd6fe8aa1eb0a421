// Calibration: on worlds without a fault, whose law a family contains, p is uniform in its body and its tail; where a family promises no
// more than P(p <= a) <= a, that, and how far below it is.
//
// How dependence is kept out: many independent series, at ticks whose new values are independent of one another (thinned where the world has a
// memory); for the body the first kTicksOfBody of them, for the tail all. Such draws of one series still share what it has learned; that
// this adds nothing that matters to the variance of a count is itself tested (kMostShared).
//
// Every bound fails a right model with a probability of at most kFalseFailure a check. Where a bound is a factor on what is promised, the
// factor is what the family is measured to do, with its reason beside it: it fails when calibration gets worse.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "models/special.h"
#include "tests/models/world.h"
#include "tests/quality/noise.h"

namespace outlier::models {

using quality::Counts;
using quality::Normals;
using quality::Random;

inline constexpr double kFalseFailure = 1e-4;
inline constexpr double kMostShared = 1.3;  // variance of a count over the binomial one
inline constexpr int64_t kTicksOfBody = 20;
inline constexpr std::array<double, 5> kLevels = {0.5, 0.1, 1e-2, 1e-3, 1e-4};

// Random numbers of one world.
class Source {
 public:
  explicit Source(uint64_t seed) : random(seed) {}
  double Normal() { return normals_.Draw(&random); }
  double Sign() { return random.Bits() >> 63 != 0 ? 1.0 : -1.0; }
  Random random;

 private:
  Normals normals_;
};

struct Plan {
  int64_t series, learn, draws;  // draws of each series after so many ticks of learning
  int64_t thin = 1;              // ticks from one to the next
};

struct Seen {
  Plan plan;
  int64_t ready = 0;                             // draws in all, series that were ready
  std::array<int64_t, kLevels.size()> below{};   // p <= level
  std::array<double, kLevels.size()> shared{};   // variance of a series' count over the binomial one
  std::vector<double> body;                      // p of all series at the first ticks
  double Share(size_t level) const { return static_cast<double>(below[level]) / static_cast<double>(ready); }
};

// `world` fills the columns of one tick. Of `counts`, P(X >= x + 1) + U P(X = x) is what is uniform: the randomised p.
inline Seen Observe(std::string_view family, const Options& options, const Plan& plan, bool counts, const std::function<void(Eigen::ArrayXXd*)>& world) {
  const std::unique_ptr<Model> model = MakeModel(family, options);
  model->Resize(plan.series);
  Assessment now, above;
  now.ResizeToJudge(plan.series);
  above.ResizeToJudge(plan.series);
  const Eigen::Array<bool, Eigen::Dynamic, 1> mask = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(plan.series, true);
  Eigen::ArrayXXd x(model->width(), plan.series);
  for (int64_t t = 0; t < plan.learn; ++t) {
    world(&x);
    model->Step(x, mask, &now);
  }
  Random random(4);
  Seen seen;
  seen.plan = plan;
  std::vector<std::array<int, kLevels.size()>> of_series(plan.series);
  for (int64_t n = 0; n < plan.draws; ++n) {
    for (int64_t t = 0; t < plan.thin; ++t) {
      world(&x);
      if (counts && t + 1 == plan.thin) {
        Eigen::ArrayXXd more = x;
        more.row(0) += 1;
        model->Score(more, mask, &above);
      }
      model->Step(x, mask, &now);
    }
    for (int64_t i = 0; i < plan.series; ++i) {
      if (!now.ready(i)) continue;
      const double p = counts ? above.tail_probability(i) + random.Uniform() * (now.tail_probability(i) - above.tail_probability(i))
                              : now.tail_probability(i);
      seen.ready += 1;
      for (size_t k = 0; k < kLevels.size(); ++k) {
        seen.below[k] += p <= kLevels[k];
        of_series[i][k] += p <= kLevels[k];
      }
      if (n < kTicksOfBody) seen.body.push_back(p);
    }
  }
  for (size_t k = 0; k < kLevels.size(); ++k) {
    const double mean = static_cast<double>(seen.below[k]) / static_cast<double>(plan.series);
    double squares = 0.0;
    for (const auto& count : of_series) squares += (count[k] - mean) * (count[k] - mean);
    const double binomial = mean * (1.0 - seen.Share(k));
    seen.shared[k] = binomial > 0.0 ? squares / static_cast<double>(plan.series) / binomial : 1.0;
  }
  return seen;
}

// P(X >= count) of n independent trials.
inline double BinomialUpperTail(int64_t count, int64_t n, double probability) {
  return count <= 0 ? 1.0 : RegularizedBeta(static_cast<double>(count), static_cast<double>(n - count + 1), probability);
}

// The number of p at most `level` lies in the binomial interval of a share between `least` and `most` times the level: with both 1, in
// that of uniform p; each end is passed by chance with kFalseFailure.
inline void ExpectShare(const Seen& seen, double level, double least, double most) {
  const auto k = static_cast<size_t>(std::find(kLevels.begin(), kLevels.end(), level) - kLevels.begin());
  ASSERT_LT(k, kLevels.size());
  const std::string what = "P(p <= " + std::to_string(level) + ") is " + std::to_string(seen.Share(k) / level) + " of that";
  ASSERT_GT(seen.ready, 0);
  EXPECT_GT(BinomialUpperTail(seen.below[k], seen.ready, std::min(1.0, most * level)), kFalseFailure) << what << ", more than " << most;
  EXPECT_GT(1.0 - BinomialUpperTail(seen.below[k] + 1, seen.ready, least * level), kFalseFailure) << what << ", less than " << least;
  // The variance of a variance of as many series, and that of rare counts.
  const double noise = std::sqrt(2.0 / static_cast<double>(seen.plan.series) + 1.0 / std::max(1.0, static_cast<double>(seen.below[k])));
  EXPECT_LT(seen.shared[k], kMostShared + 4.0 * noise) << "draws of a series are not independent, at " << level;
}

// Kolmogorov (1933) by the inequality of Dvoretzky, Kiefer & Wolfowitz with the constant of Massart (1990), true for every n: the largest
// excess of small p, and of large ones, beyond `smaller` and `larger`.
inline void ExpectUniform(const Seen& seen, double smaller = 0.0, double larger = 0.0) {
  std::vector<double> p = seen.body;
  ASSERT_GT(p.size(), 100u);
  std::sort(p.begin(), p.end());
  const auto n = static_cast<double>(p.size());
  double small = 0.0, large = 0.0;
  for (size_t i = 0; i < p.size(); ++i) {
    small = std::max(small, static_cast<double>(i + 1) / n - p[i]);
    large = std::max(large, p[i] - static_cast<double>(i) / n);
  }
  const double critical = std::sqrt(-std::log(kFalseFailure / 2.0) / (2.0 * n));
  EXPECT_LT(small, critical + smaller) << "too many small p, of " << p.size();
  EXPECT_LT(large, critical + larger) << "too many large p, of " << p.size();
}

}  // namespace outlier::models
