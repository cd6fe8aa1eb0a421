// `outlierctl score`: judged causally, and called as rare as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/detectors/table_fixture.h"

namespace outlier {
namespace {

TEST_F(Table, AFaultIsScoredAndItsColumnNamedFirst) {
  const std::vector<std::string> lines = Lines(Scores(Write(Faulty(600))));
  ASSERT_EQ(lines.size(), 601u);
  EXPECT_EQ(lines[0], "row,tail_probability,score,features");
  double worst_healthy = 1;
  for (size_t t = 200; t < 400; ++t) worst_healthy = std::min(worst_healthy, std::stod(lines[t + 1].substr(lines[t + 1].find(',') + 1)));
  const std::string& line = lines[403 + 1];
  const double p = std::stod(line.substr(line.find(',') + 1));
  EXPECT_LT(p, 1e-3);
  EXPECT_LT(p, worst_healthy / 10);
  EXPECT_EQ(line.substr(line.rfind(',') + 1).substr(0, 1), "b");
  EXPECT_EQ(line.substr(0, 4), "403,");
}

TEST_F(Table, NoRowDependsOnLaterRowsOrOnLabels) {
  const std::string all = Scores(Write(Faulty(600)));
  EXPECT_EQ(all.substr(0, Scores(Write(Faulty(410))).size()), Scores(Write(Faulty(410))));
  EXPECT_EQ(all, Scores(Write(Faulty(600, false))));
}

TEST_F(Table, ProbabilitiesAreNeverZeroWhateverTheTableHolds) {
  std::string text = "x,y\n";
  for (int t = 0; t < 300; ++t) text += t == 250 ? "1e308,-1e308\n" : "1,\n";
  for (const std::string& line : Lines(Scores(Write(text)))) {
    if (line[0] == 'r') continue;
    const double p = std::stod(line.substr(line.find(',') + 1));
    EXPECT_GT(p, 0);
    EXPECT_LE(p, 1);
  }
}

// Least probability of a fault of 20 spreads in rows 5500 to 5519, with one cell of nonsense in row `glitch`.
TEST_F(Table, OneCellOfNonsenseDoesNotHideAFaultOfLater) {
  for (const int glitch : {-1, 0, 2, 500, 5000}) {
    std::mt19937_64 random(3);
    std::normal_distribution<double> normal(100, 5);
    std::string text = "a\n";
    for (int t = 0; t < 5600; ++t) {
      const double x = normal(random) + (t >= 5500 && t < 5520 ? 100 : 0);
      text += std::to_string(t == glitch ? 65535 : x) + "\n";
    }
    const std::vector<std::string> lines = Lines(Scores(Write(text)));
    double least = 1;
    for (size_t t = 5500; t < 5540; ++t) least = std::min(least, std::stod(lines[t + 1].substr(lines[t + 1].find(',') + 1)));
    EXPECT_LT(least, 1e-4) << glitch;
  }
}

TEST_F(Table, TheBodyOfPIsNearUniformOnNoiseAndItsTailIsNotTooOften) {
  for (const int columns : {1, 10}) {
    constexpr int kRows = 20000, kFirst = 2000;
    std::mt19937_64 random(4);
    std::normal_distribution<double> normal;
    std::string text;
    for (int c = 0; c < columns; ++c) text += (c > 0 ? ",c" : "c") + std::to_string(c);
    for (int t = 0; t < kRows; ++t) {
      for (int c = 0; c < columns; ++c) text += (c > 0 ? "," : "\n") + std::to_string(normal(random));
    }
    const std::vector<std::string> lines = Lines(Scores(Write(text)));
    double half = 0, tenth = 0, hundredth = 0, thousandth = 0;
    for (int t = kFirst; t < kRows; ++t) {
      const double p = std::stod(lines[t + 1].substr(lines[t + 1].find(',') + 1)), one = 1.0 / (kRows - kFirst);
      half += p < 0.5 ? one : 0;
      tenth += p < 0.1 ? one : 0;
      hundredth += p < 0.01 ? one : 0;
      thousandth += p < 0.001 ? one : 0;
    }
    EXPECT_NEAR(half, 0.5, 0.08) << columns;
    EXPECT_GT(tenth, 0.05) << columns;
    EXPECT_LT(tenth, 0.13) << columns;
    EXPECT_LT(hundredth, 0.013) << columns;
    EXPECT_LT(thousandth, 0.001) << columns;
  }
}

// A month of hours, log-normal and with a memory: what comes each other day is not one in a hundred rows.
TEST(TableScorerTest, OfFewRowsOfARestlessColumnHardlyMoreThanTwiceAsManyAreCalledRareAsAre) {
  constexpr int kColumns = 40, kRows = 720, kFirst = 240;
  double rare = 0, very_rare = 0;
  for (int seed = 0; seed < kColumns; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    TableScorer::Options options;
    options.interval_seconds = 3600;
    TableScorer scorer({"rate"}, options);
    double level = 0;
    for (int t = 0; t < kRows; ++t) {
      level = 0.8 * level + 0.3 * normal(random);
      const double value = std::exp(level + 0.5 * normal(random));
      const bool present = true;
      const double p = scorer.Score({&value, 1}, {&present, 1}, false).tail_probability;
      if (t < kFirst) continue;
      rare += p < 0.01 ? 1 : 0;
      very_rare += p < 1e-4 ? 1 : 0;
    }
  }
  constexpr double kScored = kColumns * (kRows - kFirst);
  EXPECT_LT(rare / kScored, 0.025);
  EXPECT_GT(rare / kScored, 0.001);
  EXPECT_LT(very_rare / kScored, 5e-4);
}

// As many rows of nothing as there are rows before.
TEST(TableScorerTest, RowsInWhichNothingIsPresentChangeNothingOfWhatIsUsual) {
  const auto tenth = [](int gap) {
    double rare = 0;
    constexpr int kSeeds = 10, kScored = 300;
    for (int seed = 0; seed < kSeeds; ++seed) {
      std::mt19937_64 random(seed);
      std::normal_distribution<double> normal;
      TableScorer scorer({"a", "b"}, kMinutes);
      const std::array<bool, 2> all = {true, true}, none = {false, false};
      for (int t = 0; t < 1500 + gap + kScored; ++t) {
        const bool missing = t >= 1500 && t < 1500 + gap;
        const std::array<double, 2> values = {normal(random), normal(random)};
        const TableScorer::Row row = scorer.Score(values, missing ? none : all, false);
        if (missing) {
          EXPECT_EQ(row.tail_probability, 1.0);
        }
        if (t >= 1500 + gap) rare += row.tail_probability < 0.1 ? 1.0 / (kSeeds * kScored) : 0;
      }
    }
    return rare;
  };
  EXPECT_LT(tenth(4000), 0.13);
  EXPECT_NEAR(tenth(4000), tenth(0), 0.04);
}

// A row a minute with the tide of a day, and nothing from midnight to eight: the hour goes on.
TEST(TableScorerTest, TheHourOfTheDayGoesOnInRowsOfNothing) {
  constexpr int kDay = 1440;
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal;
  TableScorer scorer({"load"}, kMinutes);
  double rare = 0, rows = 0;
  for (int t = 0; t < 14 * kDay; ++t) {
    const bool present = t % kDay >= 480;
    const double value = 100 - 40 * std::cos(2 * M_PI * t / kDay) + normal(random);
    const double p = scorer.Score({&value, 1}, {&present, 1}, false).tail_probability;
    if (t < 7 * kDay || !present) continue;
    rare += p < 0.01 ? 1 : 0;
    rows += 1;
  }
  EXPECT_LT(rare / rows, 0.005);
}

TEST(TableScorerTest, TheMostOfThreeHundredColumnsIsNoMoreRareThanThatOfFew) {
  constexpr int kColumns = 300, kRows = 3000, kFirst = 1500;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  TableScorer scorer(std::vector<std::string>(kColumns, "c"), kMinutes);
  std::vector<double> values(kColumns);
  const auto present = std::make_unique<bool[]>(kColumns);
  std::fill_n(present.get(), kColumns, true);
  double half = 0, tenth = 0, hundredth = 0, fault = 1;
  for (int t = 0; t < kRows + 30; ++t) {
    for (double& value : values) value = normal(random);
    if (t >= kRows) values[7] += 30;
    const double p = scorer.Score(values, {present.get(), kColumns}, false).tail_probability, one = 1.0 / (kRows - kFirst);
    if (t >= kRows) fault = std::min(fault, p);
    if (t < kFirst || t >= kRows) continue;
    half += p < 0.5 ? one : 0;
    tenth += p < 0.1 ? one : 0;
    hundredth += p < 0.01 ? one : 0;
  }
  EXPECT_LT(half, 0.65);
  EXPECT_LT(tenth, 0.13);
  EXPECT_LT(hundredth, 0.013);
  EXPECT_LT(fault, 5e-3) << "of one column among them";
}

}  // namespace
}  // namespace outlier
