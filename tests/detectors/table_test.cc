// `outlierctl score`: tables read exactly, judged causally, answered in the promised format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "userspace/detectors/csv_table.h"

namespace outlier {
namespace {

using testing::HasSubstr;

const TableScorer::Options kMinutes{.interval_seconds = 60};

class Table : public testing::Test {
 protected:
  Table() {
    std::string name = testing::TempDir() + "/outlier-table-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~Table() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& text, const std::string& name = "t.csv") {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  std::string ErrorOf(const std::string& text) {
    std::ostringstream out;
    return std::string(ScoreTable(Write(text), kMinutes, &out).message());
  }
  absl::StatusCode CodeOf(const std::string& text) {
    std::ostringstream out;
    return ScoreTable(Write(text), kMinutes, &out).code();
  }
  std::string WarningOf(const std::string& text) {
    std::ostringstream out;
    std::string said;
    EXPECT_TRUE(ScoreTable(Write(text), kMinutes, &out, {.warn = [&](const std::string& warning) { said += warning; }}).ok());
    return said;
  }
  static std::string Scores(const std::string& path) {
    std::ostringstream out;
    const absl::Status status = ScoreTable(path, kMinutes, &out);
    EXPECT_TRUE(status.ok()) << status;
    return out.str();
  }
  // Three columns of noise; from row 400 column b is far away.
  static std::string Faulty(int rows, bool labels = true) {
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal;
    std::string text = labels ? "Timestamp,a,b,LABEL,c,Is_Test\n" : "Timestamp,a,b,c,Is_Test\n";
    for (int t = 0; t < rows; ++t) {
      const double a = normal(random), b = 5 + normal(random) + (t >= 400 && t < 420 ? 40 : 0), c = 100 + normal(random);
      text += std::to_string(t) + "," + std::to_string(a) + "," + std::to_string(b) + "," + (labels ? "0," : "") + std::to_string(c) +
              "," + (t < 200 ? "0" : "1") + "\n";
    }
    return text;
  }
  std::string folder_;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

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

TEST_F(Table, CompressedTablesGiveTheSameScores) {
  const std::string path = folder_ + "/t.csv.gz", text = Faulty(300);
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), text.size());
  gzclose(file);
  EXPECT_EQ(Scores(path), Scores(Write(text)));
}

TEST_F(Table, ACompressedTableThatIsCutShortIsAnErrorNotAnEnd) {
  const std::string path = folder_ + "/t.csv.gz", text = Faulty(3000);
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), text.size());
  gzclose(file);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  std::ostringstream out;
  EXPECT_EQ(ScoreTable(path, kMinutes, &out).code(), absl::StatusCode::kDataLoss);
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

TEST_F(Table, EmptyCellsAreMissingNotZero) {
  std::string with = "a,b\n", without = "a\n";
  for (int t = 0; t < 200; ++t) {
    with += std::to_string(50 + t % 3) + ",\r\n";
    without += std::to_string(50 + t % 3) + "\n";
  }
  EXPECT_EQ(Scores(Write(with)), Scores(Write(without)));
}

TEST_F(Table, AnEmptyLineOfASingleColumnIsARowThatMissesItsValue) {
  EXPECT_EQ(Lines(Scores(Write("a\n1\n\n2"))).size(), 1u + 3);
  EXPECT_EQ(Lines(Scores(Write("a\r\n\r\n1\r\n\r\n\r\n2\r\n"))).size(), 1u + 5);
  std::string bare = "a\n", quoted = "a\n";
  for (int t = 0; t < 300; ++t) {
    const std::string cell = std::to_string(50 + t % 3);
    bare += t % 7 == 0 ? "\n" : cell + "\n";
    quoted += t % 7 == 0 ? "\"\"\n" : cell + "\n";
  }
  EXPECT_EQ(Scores(Write(bare)), Scores(Write(quoted)));
}

TEST_F(Table, AnEmptyLineAtTheEndIsNoRow) {
  EXPECT_EQ(Lines(Scores(Write("a\n1\n2\n\n"))).size(), 1u + 2);
  EXPECT_EQ(Lines(Scores(Write("a\n1\n2\n\r\n"))).size(), 1u + 2);
  EXPECT_EQ(Lines(Scores(Write("a\n1\n2\n\n\n"))).size(), 1u + 3);  // only the last one
  EXPECT_EQ(Lines(Scores(Write("a\n\n"))).size(), 1u);
  EXPECT_EQ(Lines(Scores(Write("a,b\n1,2\n\n\n"))).size(), 1u + 1);
}

TEST_F(Table, LongLinesAndManyLinesAreReadWhole) {
  // Longer than what is read at once, so that lines lie across its ends.
  std::string wide = "c0", row = "1";
  for (int c = 1; c < 30000; ++c) {
    wide += ",c" + std::to_string(c);
    row += ",1";
  }
  EXPECT_EQ(Lines(Scores(Write(wide + "\n" + row + "\n" + row))).size(), 1u + 2);
  std::string tall = "a\n";
  for (int t = 0; t < 50000; ++t) tall += std::to_string(t % 1000) + "\n";
  EXPECT_EQ(Lines(Scores(Write(tall))).size(), 1u + 50000);
}

// In code units of two bytes.
std::string Wide(const std::string& text, bool little, bool mark) {
  std::string out = !mark ? "" : little ? "\xff\xfe" : "\xfe\xff";
  for (const char c : text) out += little ? std::string{c, '\0'} : std::string{'\0', c};
  return out;
}

TEST_F(Table, TextThatIsNotUtf8IsRefusedWithWhatToDo) {
  for (const bool little : {true, false}) {
    for (const bool mark : {true, false}) {
      const std::string text = Wide("a,b\r\n1,2\r\n3,4\r\n", little, mark);
      EXPECT_EQ(CodeOf(text), absl::StatusCode::kDataLoss);
      EXPECT_THAT(ErrorOf(text), testing::AllOf(HasSubstr("t.csv line 1"), HasSubstr("UTF-16"), HasSubstr("iconv")));
    }
  }
  const std::string text("a\n1\n2\0003\n", 9);
  EXPECT_THAT(ErrorOf(text), testing::AllOf(HasSubstr("line 3"), HasSubstr("NUL")));
}

TEST_F(Table, LinesThatEndInACarriageReturnAloneAreRefusedWithWhatToDo) {
  for (const std::string text : {"a,b\r1,2\r3,4\r", "a\r1\r2", "a\n1\r2\r3\r"}) {
    EXPECT_EQ(CodeOf(text), absl::StatusCode::kDataLoss);
    EXPECT_THAT(ErrorOf(text), testing::AllOf(HasSubstr("line "), HasSubstr("carriage return"), HasSubstr("tr '\\r' '\\n'")));
  }
  std::string long_text = "a\r";
  while (long_text.size() < (17u << 20)) long_text += "123456\r";
  EXPECT_THAT(ErrorOf(long_text), HasSubstr("carriage return"));
}

TEST_F(Table, ALineEndInsideQuotesIsRefusedWhereTheQuoteBegins) {
  EXPECT_THAT(ErrorOf("a,b\n1,2\n1,\"2\n3\"\n"), testing::AllOf(HasSubstr("line 3"), HasSubstr("column 2"), HasSubstr("line end")));
}

TEST_F(Table, AHeaderOfNumbersIsScoredWithAWarning) {
  EXPECT_THAT(WarningOf("1,2.5\n1,2\n"), testing::AllOf(HasSubstr("t.csv line 1"), HasSubstr("number"), HasSubstr("not scored")));
  EXPECT_THAT(WarningOf("-3e5,,nan\n1,2,3\n"), HasSubstr("line 1"));
  EXPECT_EQ(WarningOf("timestamp,2\n1,2\n"), "");
  EXPECT_EQ(WarningOf("a\n1\n"), "");
  EXPECT_EQ(WarningOf("nan,inf\n1,2\n"), "");
  EXPECT_EQ(Lines(Scores(Write("1\n2\n3\n"))).size(), 1u + 2);
}

TEST_F(Table, BadCellsAreNamedByLineAndColumn) {
  EXPECT_THAT(ErrorOf("a,b\n1,2\n3,many\n"), testing::AllOf(HasSubstr("line 3"), HasSubstr("column 2"), HasSubstr("many")));
  EXPECT_THAT(ErrorOf("a,b\n1,2\n3\n"), testing::AllOf(HasSubstr("line 3"), HasSubstr("1 cells")));
  EXPECT_THAT(ErrorOf("a,is_test\n1,2\n"), testing::AllOf(HasSubstr("line 2"), HasSubstr("is_test")));
  EXPECT_THAT(ErrorOf("label,is_test\n1,0\n"), HasSubstr("no feature"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("no header"));
  EXPECT_THAT(ErrorOf("a,b\n1,\"2\n"), HasSubstr("quote"));
  EXPECT_THAT(ErrorOf("a\n\x1b[31m\n"), testing::Not(HasSubstr("\x1b")));
  std::ostringstream out;
  EXPECT_EQ(ScoreTable(folder_ + "/none.csv", kMinutes, &out).code(), absl::StatusCode::kNotFound);
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

TEST_F(Table, NamesWithSeparatorsAreQuoted) {
  std::string text = "\"a,\"\"x\"\"\"\n";
  std::mt19937_64 random(2);
  for (int t = 0; t < 300; ++t) text += std::to_string(t == 290 ? 1e6 : std::normal_distribution<double>()(random)) + "\n";
  EXPECT_THAT(Scores(Write(text)), HasSubstr("\"a,\"\"x\"\"\""));
}

}  // namespace
}  // namespace outlier
