// TableScorer: the engine over someone's own table, a row a tick, all columns one workload (`outlierctl score`).
//
// Every column has a level and a difference model with calibrated tails. Their -log10 p are combined (mean excess over 2,
// and the mean of the three largest), smoothed with a half-life of three rows, and calibrated by the score's own tail, half
// of which stays the prior. Nothing depends on later rows. Deterministic; not thread-safe.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "models/tail.h"

namespace outlier {

class TableScorer {
 public:
  struct Row {
    double tail_probability = 1.0;      // (0, 1]
    double score = 0.0;                 // 0-100: 100 (1 - 10^(-surprise/3)), surprise = decades beyond 1 in 100
    std::vector<std::string> features;  // up to five most surprising columns, most surprising first
  };

  // `interval_seconds` > 0: distance between rows.
  TableScorer(std::vector<std::string> columns, double interval_seconds);

  // `values` and `present` have one entry a column; absent and non-finite values are missing. `learn_only` rows teach like
  // all others; they are scored too.
  Row Score(std::span<const double> values, std::span<const bool> present, bool learn_only);

 private:
  double Combine();
  double Calibrate(double combined);
  std::vector<std::string> MostSurprising() const;

  std::vector<std::string> columns_;
  std::unique_ptr<models::Model> level_, difference_;
  models::Assessment level_scores_, difference_scores_;
  Eigen::ArrayXXd x_;
  Eigen::Array<bool, Eigen::Dynamic, 1> mask_;
  Eigen::ArrayXd surprise_;   // a column's largest -log10 p
  std::vector<double> sorted_;
  double smoothed_ = 0.0;
  bool started_ = false;
  models::Tail own_;          // of the smoothed score, in units of its prior spread
  double rows_ = 0.0;
};

}  // namespace outlier
