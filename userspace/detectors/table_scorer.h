// TableScorer: the engine over someone's own table, a row a tick, all columns one workload (`outlierctl score`).
//
// Every column has a seasonal_level and a step model with calibrated tails; groups of up to 16 columns have a mahalanobis model
// of both z. One row's evidence is
//   log1p(4 m) + log1p(t - 2) + 1.5 log1p(g - 2) + 0.02 b,
// m: mean over columns of the decades (-log10 p) beyond 2, t: mean of the three largest decades, g: the largest of the groups',
// b: mean of the decades up to 2, which only orders unremarkable rows. Of more than 38 columns, which the prior was found on, t and g are less by three quarters of
// the decades that the most of so many has by chance (union bound). It is smoothed twice, half-lives 4 and 20 rows, and
// becomes a tail probability: log p is 45 % that of the score's own tail and 55 % that of its prior, because one threshold has to suit all tables;
// but the prior counts at most as the own tail down to .1, so the body of p is near uniform however quiet a table is; p is at least a fifth of the own
// tail's down to .01, so that what comes daily is not called rare on restless ones; and to the prior evidence counts n / (n + 250) of itself, n being the
// rows that columns are known by (as many as their half-life holds): of few rows, scales and tails are uncertain, and numbers go further by chance.
// A row in which nothing is present has p = 1; time passes in it, and nothing is learned. Nothing depends on later rows. Deterministic; not thread-safe.
#pragma once
#include <memory>
#include <optional>
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
    // Up to five columns that were beyond 1 in 100 lately: those that went furthest from normal first, in z of value or step,
    // a z of the past counting less the longer it is ago. So the names a few rows after an alarm are those of its onset.
    std::vector<std::string> features;
  };

  struct Options {
    double interval_seconds = 60.0;          // distance between rows
    // Of what a column is like; of how columns go together: a quarter. Absent: 16 days, at least 500 rows, of columns; 4 days, at least 500 rows, of groups.
    std::optional<double> half_life_seconds = std::nullopt;
    // No column has a say before this, no group before it and 200 rows. Absent: 60 rows.
    std::optional<double> warm_up_seconds = std::nullopt;
  };

  // All seconds > 0.
  TableScorer(std::vector<std::string> columns, const Options& options);

  // `values` and `present` have one entry a column; absent and non-finite values are missing. `learn_only` rows teach like
  // all others; they are scored too.
  Row Score(std::span<const double> values, std::span<const bool> present, bool learn_only);

 private:
  void Judge();
  double Combine();
  double Calibrate(double combined);
  std::vector<std::string> MostSurprising();

  std::vector<std::string> columns_;
  int64_t groups_, group_columns_;
  std::unique_ptr<models::Model> level_, step_, joint_;
  models::Assessment level_scores_, step_scores_, joint_scores_;
  Eigen::ArrayXXd x_, deviates_;  // 1 x columns; width of joint_ x groups
  Eigen::Array<bool, Eigen::Dynamic, 1> mask_, group_mask_;
  Eigen::ArrayXd surprise_;       // a column's largest -log10 p
  Eigen::ArrayXd departure_;      // a column's largest |z| lately
  std::vector<double> sorted_;
  std::vector<int> order_;
  double fast_ = 0.0, slow_ = 0.0;
  double rows_ = 0.0, rows_kept_ = 0.0;  // seen; of which the columns' models remember
  models::Tail own_;              // of the smoothed evidence, in units of its prior
};

}  // namespace outlier
