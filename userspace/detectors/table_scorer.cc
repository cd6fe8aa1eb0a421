#include "userspace/detectors/table_scorer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace outlier {
namespace {

// Every number here was chosen on half of the labelled sets of docs/detection-quality.md, one setting for all of them.
constexpr double kDays = 86400.0;
constexpr double kHalfLifeDays = 16.0, kLeastHalfLifeRows = 500.0;
constexpr double kWarmUpRows = 60.0;
constexpr int64_t kGroupColumns = 16;
constexpr double kGroupWarmUpRows = 200.0;
constexpr double kGroupHalfLifeDays = 4.0;
constexpr double kMostDeviate = 8.0;      // of one column in a group: beyond it, its own models say enough
constexpr double kUsual = 2.0;            // decades: 1 in 100 is everyday
constexpr double kMostDecades = 30.0;     // of one column
constexpr int kTop = 3;
constexpr double kMeanWeight = 4.0, kJointWeight = 1.5, kBodyWeight = 0.02;
constexpr double kFastRows = 4.0, kSlowRows = 20.0, kSlowShare = 0.4;  // half-lives: half a row costs .1 VUS-PR
constexpr int kNamed = 5;
constexpr double kMostLevel = 50.0, kMostStep = 30.0;  // z: beyond, it says how flat a column was rather than how far it went
constexpr double kNamesFade = 10.0;       // rows after which a departure counts half
constexpr double kTailWeight = 200.0;     // rows the prior of the score's tail is worth
constexpr double kOwnGain = 1e-4;         // least weight of a row
constexpr double kOwnWeight = 0.45;       // of the score's own tail against the prior
constexpr double kBody = 0.1;             // up to this rare, the prior does not call a row more usual than its own past does
constexpr double kOwnShare = 0.2, kEveryday = 0.01;  // nor is a row rarer than this share of what its past says, where that is everyday
constexpr double kYouth = 250.0;          // rows: columns known for so many go twice as far by chance as the prior's
constexpr double kTailShape = 0.25;
// Prior of the smoothed evidence of normal rows: passed by 1 in 100, mean excess beyond; alike on tables of 1 to 38 columns.
constexpr double kEvidence = 600.0;       // units of the tail one unit of evidence is worth: so many that its least quantiles are nothing here
constexpr double kColumnsOfPrior = 38.0, kGroupsOfPrior = 3.0, kUnionShare = 0.75;
constexpr double kHalf = 0.033 * kEvidence, kTenth = 0.13 * kEvidence, kHundredth = 0.28 * kEvidence, kExcess = 0.22 * kEvidence;

// Of columns; of groups, with a shorter memory and a longer warm-up.
models::Options ModelOptions(const TableScorer::Options& table, double half_life_days, double least_warm_up_rows) {
  const double interval = table.interval_seconds;
  models::Options options;
  options.tick_seconds = interval;
  options.half_life_seconds = table.half_life_seconds ? *table.half_life_seconds * half_life_days / kHalfLifeDays
                                                      : std::max(half_life_days * kDays, kLeastHalfLifeRows * interval);
  options.warm_up_seconds = std::max(table.warm_up_seconds.value_or(kWarmUpRows * interval), least_warm_up_rows * interval);
  options.prior.scale_floor = 1e-9;       // unit unknown
  options.prior.tail_shape = kTailShape;
  return options;
}

std::unique_ptr<models::Model> Make(std::string_view name, const models::Options& options, int64_t series) {
  const models::Registration* end = models::kModels + models::kModelCount;
  auto model = std::find_if(models::kModels, end - 1, [&](const models::Registration& r) { return r.name == name; })->make(options);
  model->Resize(series);
  return model;
}

models::Tail PriorOfEvidence() {
  models::Tail tail = models::Tail::Prior(kTailShape);
  tail.half = kHalf;
  tail.tenth = kTenth;
  tail.hundredth = kHundredth;
  tail.excess = kExcess;
  const double sigma = kExcess * (1.0 - kTailShape);
  tail.excess_square = 2.0 * sigma * sigma / ((1.0 - kTailShape) * (1.0 - 2.0 * kTailShape));
  return tail;
}

// The most of many is more: decades by which it is, of so many times as many as the prior was found on. All of them by the union bound; columns that
// go together have less.
double Many(double times) { return kUnionShare * std::log10(std::max(times, 1.0)); }

double Weight(double half_life_rows) { return -std::expm1(-M_LN2 / half_life_rows); }

}  // namespace

TableScorer::TableScorer(std::vector<std::string> columns, const Options& table)
    : columns_(std::move(columns)), own_(PriorOfEvidence()) {
  const int64_t n = static_cast<int64_t>(columns_.size());
  groups_ = (n + kGroupColumns - 1) / kGroupColumns;
  group_columns_ = groups_ > 0 ? (n + groups_ - 1) / groups_ : 0;  // of equal size, in the table's order
  const models::Options options = ModelOptions(table, kHalfLifeDays, 0.0);
  level_ = Make("seasonal_level", options, n);
  step_ = Make("step", options, n);
  rows_kept_ = options.half_life_seconds / options.tick_seconds / M_LN2;
  models::Options joint = ModelOptions(table, kGroupHalfLifeDays, kGroupWarmUpRows);
  joint.width = static_cast<int>(2 * group_columns_);
  joint_ = Make("mahalanobis", joint, groups_);
  for (models::Assessment* a : {&level_scores_, &step_scores_}) a->ResizeToJudge(n);
  joint_scores_.ResizeToJudge(groups_);
  x_.setZero(1, n);
  deviates_.setZero(2 * group_columns_, groups_);
  mask_.setConstant(n, false);
  group_mask_.setConstant(groups_, true);
  surprise_.setZero(n);
  departure_.setZero(n);
  sorted_.reserve(columns_.size());
  order_.reserve(columns_.size());
}

TableScorer::Row TableScorer::Score(std::span<const double> values, std::span<const bool> present, bool learn_only) {
  (void)learn_only;  // every row is judged before it teaches, and every row teaches
  for (size_t c = 0; c < columns_.size(); ++c) {
    mask_(c) = present[c] && std::isfinite(values[c]);
    x_(0, c) = mask_(c) ? values[c] : 0.0;
  }
  if (!mask_.any()) {  // time passes; nothing of it says what is usual
    level_->Update(x_, mask_);
    step_->Update(x_, mask_);
    departure_ *= std::exp2(-1.0 / kNamesFade);
    return Row();
  }
  Judge();
  const double combined = Combine();
  fast_ += (rows_ > 0 ? Weight(kFastRows) : 1.0) * (combined - fast_);
  slow_ += (rows_ > 0 ? Weight(kSlowRows) : 1.0) * (combined - slow_);
  Row row;
  row.tail_probability = Calibrate((1.0 - kSlowShare) * fast_ + kSlowShare * slow_);
  const double beyond = std::max(0.0, -std::log10(row.tail_probability) - kUsual);
  row.score = 100.0 * -std::expm1(-beyond * M_LN10 / 3.0);
  row.features = MostSurprising();
  return row;
}

// One step of all models; the groups see the z of this row.
void TableScorer::Judge() {
  level_->Step(x_, mask_, &level_scores_);
  step_->Step(x_, mask_, &step_scores_);
  for (int64_t c = 0; c < x_.cols(); ++c) {
    const int64_t group = c / group_columns_, row = c % group_columns_;
    deviates_(row, group) = std::clamp(level_scores_.z(c), -kMostDeviate, kMostDeviate);  // 0 where missing
    deviates_(group_columns_ + row, group) = std::clamp(step_scores_.z(c), -kMostDeviate, kMostDeviate);
  }
  group_mask_.setConstant(level_scores_.ready.any());
  joint_->Step(deviates_, group_mask_, &joint_scores_);
}

double TableScorer::Combine() {
  sorted_.clear();
  double excess = 0.0, body = 0.0;
  const double fade = std::exp2(-1.0 / kNamesFade);
  for (int64_t c = 0; c < surprise_.size(); ++c) {
    departure_(c) *= fade;
    const double p = std::min(level_scores_.tail_probability(c), step_scores_.tail_probability(c));
    surprise_(c) = mask_(c) ? std::min(-std::log10(p), kMostDecades) : 0.0;
    if (!mask_(c)) continue;
    excess += std::max(surprise_(c) - kUsual, 0.0);
    body += std::min(surprise_(c), kUsual);
    sorted_.push_back(surprise_(c));
    const double z = std::max(std::min(std::abs(level_scores_.z(c)), kMostLevel), std::min(std::abs(step_scores_.z(c)), kMostStep));
    departure_(c) = std::max(departure_(c), z);
  }
  const size_t top = std::min<size_t>(kTop, sorted_.size());
  std::partial_sort(sorted_.begin(), sorted_.begin() + top, sorted_.end(), std::greater<>());
  const double n = static_cast<double>(sorted_.size());
  // Groups of which something is present are no more than these columns.
  const double many = Many(n / kColumnsOfPrior), many_groups = Many(std::min(static_cast<double>(groups_), n) / kGroupsOfPrior);
  const double most = std::accumulate(sorted_.begin(), sorted_.begin() + top, 0.0) / top - many;
  const double joint = std::min(-std::log10(joint_scores_.tail_probability.minCoeff()), kMostDecades) - many_groups;
  return std::log1p(kMeanWeight * excess / n) + std::log1p(std::max(most - kUsual, 0.0)) +
         kJointWeight * std::log1p(std::max(joint - kUsual, 0.0)) + kBodyWeight * body / n;
}

double TableScorer::Calibrate(double evidence) {
  const double a = kEvidence * evidence;
  const double own = own_.Probability(a, kTailShape);
  const double known = std::min(rows_, rows_kept_), aged = a * known / (known + kYouth);
  const double expected = std::min(PriorOfEvidence().Probability(aged, kTailShape), std::max(own, kBody));
  rows_ += 1.0;
  own_.Learn(a, std::max(kOwnGain, 1.0 / (rows_ + kTailWeight)));
  const double mixed = std::exp(kOwnWeight * std::log(own) + (1.0 - kOwnWeight) * std::log(expected));
  return std::max({mixed, std::min(kOwnShare * own, kEveryday), models::kLeastProbability});
}

std::vector<std::string> TableScorer::MostSurprising() {
  order_.clear();
  for (int c = 0; c < static_cast<int>(columns_.size()); ++c) {
    if (departure_(c) >= kUsual) order_.push_back(c);
  }
  const size_t named = std::min<size_t>(kNamed, order_.size());
  std::partial_sort(order_.begin(), order_.begin() + named, order_.end(), [&](int a, int b) {
    return departure_(a) != departure_(b) ? departure_(a) > departure_(b) : a < b;
  });
  std::vector<std::string> out;
  for (size_t k = 0; k < named; ++k) out.push_back(columns_[order_[k]]);
  return out;
}

}  // namespace outlier
