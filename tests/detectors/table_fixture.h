// Tables of a test's own folder and what `outlierctl score` says of them.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "userspace/detectors/csv_table.h"

namespace outlier {

inline const TableScorer::Options kMinutes{.interval_seconds = 60};

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
    return std::string(ScoreTable(Write(text), kMinutes, {&out}).message());
  }
  absl::StatusCode CodeOf(const std::string& text) {
    std::ostringstream out;
    return ScoreTable(Write(text), kMinutes, {&out}).code();
  }
  std::string WarningOf(const std::string& text) {
    std::ostringstream out;
    std::string said;
    EXPECT_TRUE(ScoreTable(Write(text), kMinutes, {&out}, {.warn = [&](const std::string& warning) { said += warning; }}).ok());
    return said;
  }
  static std::string Scores(const std::string& path) {
    std::ostringstream out;
    const absl::Status status = ScoreTable(path, kMinutes, {&out});
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

inline std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

// Of a line of scores.
inline double ProbabilityIn(const std::string& line) { return std::stod(line.substr(line.find(',') + 1)); }

}  // namespace outlier
