// `outlierctl score`: tables read exactly, refused with their place, answered in the promised format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <streambuf>

#include <fmt/format.h>

#include "tests/detectors/table_fixture.h"

namespace outlier {
namespace {

using testing::HasSubstr;

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
  EXPECT_EQ(ScoreTable(path, kMinutes, {&out}).code(), absl::StatusCode::kDataLoss);
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
  EXPECT_EQ(ScoreTable(folder_ + "/none.csv", kMinutes, {&out}).code(), absl::StatusCode::kNotFound);
}

TEST_F(Table, WhetherARowIsATestMayBeWrittenAsANumberWithAPoint) {
  std::string as_integer = "a,is_test\n", with_point = as_integer;
  for (int t = 0; t < 40; ++t) {
    as_integer += fmt::format("{},{}\n", t * 7 % 5, t < 20 ? 0 : 1);
    with_point += fmt::format("{},{}\n", t * 7 % 5, t < 20 ? "0.0" : "1.0");
  }
  EXPECT_EQ(Scores(Write(with_point)), Scores(Write(as_integer)));
}

TEST_F(Table, NamesWithSeparatorsAreQuoted) {
  std::string text = "\"a,\"\"x\"\"\"\n";
  std::mt19937_64 random(2);
  for (int t = 0; t < 300; ++t) text += std::to_string(t == 290 ? 1e6 : std::normal_distribution<double>()(random)) + "\n";
  EXPECT_THAT(Scores(Write(text)), HasSubstr("\"a,\"\"x\"\"\""));
}

TEST_F(Table, TextBehindAClosingQuoteAndASecondSignAreRefused) {
  EXPECT_THAT(ErrorOf("a\n\"1\"2\n"), testing::AllOf(HasSubstr("line 2"), HasSubstr("column 1"), HasSubstr("closing quote")));
  EXPECT_THAT(ErrorOf("a,b\n1,+-3\n"), testing::AllOf(HasSubstr("column 2"), HasSubstr("+-3")));
  EXPECT_EQ(ErrorOf("a,b\n\"1\" ,\"+2\"\r\n"), "");
}

TEST_F(Table, NamesThatCannotBeToldApartAreWarnedOf) {
  EXPECT_THAT(WarningOf("a,b,a\n1,2,3\n"), testing::AllOf(HasSubstr("t.csv line 1"), HasSubstr("two columns are named \"a\"")));
  EXPECT_THAT(WarningOf("a;b\n1\n"), HasSubstr("semicolon"));
  EXPECT_THAT(WarningOf("caf\xe9\n1\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(WarningOf("\x1b[31mred\n1\n"), testing::AllOf(HasSubstr("control"), testing::Not(HasSubstr("\x1b["))));
  EXPECT_EQ(WarningOf("a,b\n1,2\n"), "");
}

TEST_F(Table, TimestampsThatDoNotFitTheIntervalOrGoBackAreWarnedOf) {
  const auto rows = [](const std::function<std::string(int)>& time) {
    std::string text = "timestamp,a\n";
    for (int t = 0; t < 40; ++t) text += time(t) + "," + std::to_string(t % 3) + "\n";
    return text;
  };
  const auto clock = [](int minutes) {
    const int hours = minutes / 60;
    const auto two = [](int n) { return (n < 10 ? "0" : "") + std::to_string(n); };
    return "2026-01-" + two(1 + hours / 24) + " " + two(hours % 24) + ":" + two(minutes % 60) + ":00";
  };
  EXPECT_THAT(WarningOf(rows([&](int t) { return clock(60 * t); })), testing::AllOf(HasSubstr("3600 s apart"), HasSubstr("--interval says 60 s")));
  EXPECT_EQ(WarningOf(rows([&](int t) { return clock(t); })), "");
  EXPECT_THAT(WarningOf(rows([](int t) { return std::to_string(1'700'000'000 + 300 * t); })), HasSubstr("300 s apart"));
  EXPECT_EQ(WarningOf(rows([](int t) { return std::to_string(1'700'000'000'000 + 60'000 * t); })), "") << "milliseconds";
  EXPECT_EQ(WarningOf(rows([](int t) { return std::to_string(t); })), "") << "row numbers are no times";
  EXPECT_EQ(WarningOf(rows([](int t) { return "day " + std::to_string(t); })), "");
  EXPECT_THAT(WarningOf(rows([&](int t) { return clock(t == 30 ? 5 : t); })), HasSubstr("1 of its first 40 rows are earlier"));
}

TEST_F(Table, JsonIsAnObjectALineWithTheNumbersOfTheCsv) {
  const std::string path = Write("a\"x,b\n" + [] {
    std::string rows;
    std::mt19937_64 random(2);
    for (int t = 0; t < 300; ++t) rows += std::to_string(t == 290 ? 1e6 : std::normal_distribution<double>()(random)) + ",1\n";
    return rows;
  }());
  std::ostringstream json;
  ASSERT_TRUE(ScoreTable(path, kMinutes, {.out = &json, .json = true}).ok());
  const std::vector<std::string> objects = Lines(json.str()), csv = Lines(Scores(path));
  ASSERT_EQ(objects.size() + 1, csv.size());
  EXPECT_THAT(objects[291], testing::MatchesRegex(R"(\{"row":291,"tail_probability":[0-9.e-]+,"score":[0-9.]+,"features":\["a\\"x"\]\})"));
  const std::string p = csv[292].substr(4, csv[292].find(',', 4) - 4);
  EXPECT_THAT(objects[291], HasSubstr("\"tail_probability\":" + p + ","));
}

TEST_F(Table, ProbabilitiesHaveSixDigits) {
  size_t six = 0, lines = 0;
  for (const std::string& line : Lines(Scores(Write(Faulty(600))))) {
    const std::string p = line.substr(line.find(',') + 1, line.find(',', line.find(',') + 1) - line.find(',') - 1);
    const std::string digits = p.substr(0, p.find('e'));
    six += digits.starts_with("0.") && digits.size() >= 7 ? 1 : 0;
    ++lines;
  }
  EXPECT_GT(six, lines * 3 / 4) << "the last may be a zero, which is not printed";
}

TEST_F(Table, NamesGoToATerminalWithoutControlCharacters) {
  std::string text = "\x1b[31mred\n";
  std::mt19937_64 random(2);
  for (int t = 0; t < 300; ++t) text += std::to_string(t == 290 ? 1e6 : std::normal_distribution<double>()(random)) + "\n";
  std::ostringstream terminal;
  ASSERT_TRUE(ScoreTable(Write(text), kMinutes, {.out = &terminal, .terminal = true}).ok());
  EXPECT_THAT(terminal.str(), testing::AllOf(HasSubstr("\\x1b[31mred"), testing::Not(HasSubstr("\x1b"))));
  EXPECT_THAT(Scores(Write(text)), HasSubstr("\x1b[31mred")) << "a program gets the name as it is";
}

// Takes so many bytes, then fails as write(2) does.
class Filling : public std::streambuf {
 public:
  Filling(size_t room, int why) : room_(room), why_(why) {}
  size_t refused() const { return refused_; }

 private:
  std::streamsize xsputn(const char*, std::streamsize n) override {
    if (static_cast<size_t>(n) <= room_) {
      room_ -= static_cast<size_t>(n);
      return n;
    }
    ++refused_;
    errno = why_;
    return 0;
  }
  int sync() override {
    errno = room_ < 100 ? why_ : 0;
    return room_ < 100 ? -1 : 0;
  }
  size_t room_, refused_ = 0;
  const int why_;
};

TEST_F(Table, AnOutputThatIsFullOrClosedEndsTheWorkSoon) {
  std::string text = "a\n";
  for (int t = 0; t < 200'000; ++t) text += std::to_string(t % 7) + "\n";
  const std::string path = Write(text);
  for (const int why : {ENOSPC, EPIPE}) {
    Filling buffer(10'000, why);
    std::ostream out(&buffer);
    int64_t reached = 0;
    const absl::Status status = ScoreTable(path, kMinutes, {&out}, {.progress = [&](int64_t rows) { reached = rows; }});
    EXPECT_LE(reached, 10'000);
    EXPECT_EQ(status.ok(), why == EPIPE) << status;
    if (why == ENOSPC) {
      EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
    }
  }
}

TEST_F(Table, ProgressIsToldByCellsOnWideTables) {
  std::string text = "c0", row = "1";
  for (int c = 1; c < 5000; ++c) {
    text += ",c" + std::to_string(c);
    row += ",1";
  }
  for (int t = 0; t < 200; ++t) text += "\n" + row;
  std::vector<int64_t> told;
  std::ostringstream out;
  ASSERT_TRUE(ScoreTable(Write(text), kMinutes, {&out}, {.progress = [&](int64_t rows) { told.push_back(rows); }}).ok());
  EXPECT_THAT(told, testing::ElementsAre(50, 100, 150, 200));
}

TEST_F(Table, AHyphenIsStandardInput) {
  const std::string path = Write(Faulty(300));
  const int kept = dup(STDIN_FILENO);
  ASSERT_NE(freopen(path.c_str(), "r", stdin), nullptr);
  const std::string scores = Scores("-");
  dup2(kept, STDIN_FILENO);
  close(kept);
  EXPECT_EQ(scores, Scores(path));
}

}  // namespace
}  // namespace outlier
