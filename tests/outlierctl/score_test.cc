#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>

#include "tests/outlierctl/ctl_run.h"
#include "tests/outlierctl/fake_feed.h"

namespace outlier::ctl {
namespace {

using ::testing::HasSubstr;

// 400 rows that teach a small ripple, then 100 of the same with a jump of `b` in row 460.
std::string Table() {
  std::string csv = "timestamp,a,b,label,is_test\n";
  for (int row = 0; row < 500; ++row) {
    const int ripple = row * 7919 % 13;
    const int b = 50 + row * 104729 % 11 + (row == 460 ? 900 : 0);
    csv += std::to_string(row) + "," + std::to_string(100 + ripple) + "," + std::to_string(b) + ",0," + (row < 400 ? "0" : "1") + "\n";
  }
  return csv;
}

class Score : public ::testing::Test {
 protected:
  FakeFeed feed_;  // for its folder: scoring asks no daemon
  std::string path_ = feed_.folder() + "/table.csv";
  Outcome Run(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"score", path_, "--interval", "60s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCtl("unix:///nonexistent/sock", arguments);
  }
};

TEST_F(Score, EveryRowHasAProbabilityAndAJumpNamesItsColumn) {
  std::ofstream(path_) << Table();
  const Outcome outcome = Run();
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::vector<std::string> lines = outcome.lines();
  ASSERT_EQ(lines.size(), 501u);
  EXPECT_EQ(lines[0], "row,tail_probability,score,features");
  const auto probability = [&](int row) { return std::stod(lines[row + 1].substr(lines[row + 1].find(',') + 1)); };
  for (int row = 0; row < 500; ++row) EXPECT_TRUE(probability(row) > 0 && probability(row) <= 1) << lines[row + 1];
  EXPECT_LT(probability(460), probability(450) / 10);
  EXPECT_EQ(lines[461].substr(lines[461].rfind(',') + 1).substr(0, 1), "b") << lines[461];
}

TEST_F(Score, ACompressedTableGivesTheSameBytes) {
  std::ofstream(path_) << Table();
  const std::string plain = Run().out;
  path_ += ".gz";
  gzFile file = gzopen(path_.c_str(), "wb");
  gzputs(file, Table().c_str());
  gzclose(file);
  EXPECT_EQ(Run().out, plain);
}

TEST_F(Score, ABadCellIsWrongUsageWithItsLine) {
  std::ofstream(path_) << "a,b\n1,2\n3,zebra\n";
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("3"));
  path_ += ".none";
  EXPECT_EQ(Run().status, 1);
}

TEST_F(Score, SetsOfDetectionChangeWhatIsLearned) {
  std::ofstream(path_) << Table();
  const std::string plain = Run().out;
  for (const std::string set : {"detection.half_life=1h", "detection.half_life=1d", "detection.warm_up=5h", "detection={half_life: 1h}"}) {
    const Outcome outcome = Run({"--set", set});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out, plain) << set;
    EXPECT_EQ(outcome.lines().size(), 501u);
  }
  EXPECT_EQ(Run({"--set", "detection.half_life=16d"}).out, plain);
  EXPECT_EQ(Run({"--set", "detection.warm_up=1h", "--log-level", "debug"}).out, plain);
  const Outcome late = Run({"--set", "detection.warm_up=7h"});  // 420 rows
  for (int row = 0; row < 420; ++row) EXPECT_THAT(late.lines()[row + 1], testing::StartsWith(std::to_string(row) + ",1,")) << row;
  EXPECT_NE(Run({"--set", "detection.half_life=1h", "--set", "detection.half_life=2h"}).out, Run({"--set", "detection.half_life=1h"}).out);
}

TEST_F(Score, AWrongSetIsWrongUsageWithItsPlace) {
  std::ofstream(path_) << Table();
  for (const std::string set : {"detection.half_live=1h", "detection.half_life=soon", "detection.half_life=1s", "nothing", "score.rows=3"}) {
    const Outcome outcome = Run({"--set", set});
    EXPECT_EQ(outcome.status, 2) << set;
    EXPECT_EQ(outcome.out, "") << set;
    EXPECT_THAT(outcome.err, testing::AllOf(HasSubstr("--set"), HasSubstr(set.substr(0, set.find('='))))) << set;
  }
}

TEST_F(Score, ASetThatATableHasNoUseForSaysSo) {
  std::ofstream(path_) << Table();
  const Outcome outcome = Run({"--set", "budgets.memory=64MiB"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, Run().out);
  EXPECT_THAT(outcome.err, testing::AllOf(HasSubstr("budgets.memory"), HasSubstr("no effect"), HasSubstr("detection.half_life")));
  EXPECT_THAT(RunCtl("", {"score", "--help"}).out, testing::AllOf(HasSubstr("detection.half_life"), HasSubstr("detection.warm_up")));
}

TEST_F(Score, WhatIsNoTableIsStatusOneWithWhatToDo) {
  std::ofstream(path_, std::ios::binary) << std::string("\xff\xfe" "a\0\n\0" "1\0\n\0", 10);
  const Outcome wide = Run();
  EXPECT_EQ(wide.status, 1);
  EXPECT_EQ(wide.out, "");
  EXPECT_THAT(wide.err, HasSubstr("iconv"));
  std::ofstream(path_) << "a\r1\r2\r";
  EXPECT_EQ(Run().status, 1);
  std::ofstream(path_) << "1,2\n3,4\n";
  const Outcome nameless = Run();
  EXPECT_EQ(nameless.status, 0);
  EXPECT_THAT(nameless.err, HasSubstr("line 1"));
}

}  // namespace
}  // namespace outlier::ctl
