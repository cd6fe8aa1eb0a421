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
  Outcome Run() { return RunCtl("unix:///nonexistent/sock", {"score", path_, "--interval", "60s"}); }
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

}  // namespace
}  // namespace outlier::ctl
