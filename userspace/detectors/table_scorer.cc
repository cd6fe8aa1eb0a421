#include "userspace/detectors/table_scorer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace outlier {
namespace {

constexpr double kSmoothingRows = 3.0;    // half-life: half a row costs .1 VUS-PR, measured
constexpr double kUsual = 2.0;            // decades: 1 in 100 is everyday
constexpr double kMostDecades = 30.0;     // of one column
constexpr int kTop = 3;
constexpr int kNamed = 5;
constexpr double kTailWeight = 200.0;     // rows the prior of the score's tail is worth
constexpr double kOwnWeight = 0.5;        // of the score's own tail against the prior
constexpr double kUnit = 2.5;             // normal deviates one unit of the combined score is worth a priori
constexpr double kTailShape = 0.25;

models::Options OptionsOf(double interval) {
  models::Options options;
  options.tick_seconds = interval;
  options.half_life_seconds = std::max(4.0 * 86400.0, 500.0 * interval);
  options.warm_up_seconds = 60.0 * interval;
  options.cold_seconds = 0.0;                       // a table begins where its owner says it begins
  options.relearn_seconds = 86400.0 + 60.0 * interval;
  options.prior.scale_floor = 1e-9;                 // unit unknown
  options.prior.relative_floor = 0.01;
  options.prior.tail_shape = kTailShape;
  return options;
}

const models::Registration& Find(std::string_view name) {
  const models::Registration* end = models::kModels + models::kModelCount;
  return *std::find_if(models::kModels, end - 1, [&](const models::Registration& r) { return r.name == name; });
}

}  // namespace

TableScorer::TableScorer(std::vector<std::string> columns, double interval_seconds)
    : columns_(std::move(columns)), level_(Find("robust_level").make(OptionsOf(interval_seconds))),
      difference_(Find("difference").make(OptionsOf(interval_seconds))), own_(models::Tail::Prior(kTailShape)) {
  const int64_t n = static_cast<int64_t>(columns_.size());
  for (models::Model* model : {level_.get(), difference_.get()}) model->Resize(n);
  for (models::Assessment* a : {&level_scores_, &difference_scores_}) a->Resize(n);
  x_.setZero(1, n);
  mask_.setConstant(n, false);
  surprise_.setZero(n);
  sorted_.reserve(columns_.size());
}

TableScorer::Row TableScorer::Score(std::span<const double> values, std::span<const bool> present, bool learn_only) {
  (void)learn_only;  // every row is judged before it teaches, and every row teaches
  for (size_t c = 0; c < columns_.size(); ++c) {
    mask_(c) = present[c] && std::isfinite(values[c]);
    x_(0, c) = mask_(c) ? values[c] : 0.0;
  }
  level_->Score(x_, mask_, &level_scores_);
  difference_->Score(x_, mask_, &difference_scores_);
  level_->Update(x_, mask_);
  difference_->Update(x_, mask_);

  const double combined = Combine();
  const double alpha = -std::expm1(-M_LN2 / kSmoothingRows);
  smoothed_ = started_ ? smoothed_ + alpha * (combined - smoothed_) : combined;
  started_ = true;
  Row row;
  row.tail_probability = Calibrate(smoothed_);
  const double beyond = std::max(0.0, -std::log10(row.tail_probability) - kUsual);
  row.score = 100.0 * -std::expm1(-beyond * M_LN10 / 3.0);
  row.features = MostSurprising();
  return row;
}

double TableScorer::Combine() {
  sorted_.clear();
  double excess = 0.0, body = 0.0;
  for (int64_t c = 0; c < surprise_.size(); ++c) {
    const double p = std::min(level_scores_.tail_probability(c), difference_scores_.tail_probability(c));
    surprise_(c) = mask_(c) ? std::min(-std::log10(p), kMostDecades) : 0.0;
    if (!mask_(c)) continue;
    excess += std::max(surprise_(c) - kUsual, 0.0);
    body += std::min(surprise_(c), kUsual);
    sorted_.push_back(surprise_(c));
  }
  if (sorted_.empty()) return 0.0;
  const size_t top = std::min<size_t>(kTop, sorted_.size());
  std::partial_sort(sorted_.begin(), sorted_.begin() + top, sorted_.end(), std::greater<>());
  const double most = std::accumulate(sorted_.begin(), sorted_.begin() + top, 0.0) / top;
  const double n = static_cast<double>(sorted_.size());
  // The body keeps an order among unremarkable rows.
  return std::log1p(4.0 * excess / n) + std::log1p(std::max(most - kUsual, 0.0)) + 0.2 * body / n;
}

double TableScorer::Calibrate(double combined) {
  const double a = kUnit * combined;
  const models::Tail prior = models::Tail::Prior(kTailShape);
  const double own = own_.Probability(a, kTailShape), expected = prior.Probability(a, kTailShape);
  rows_ += 1.0;
  own_.Learn(a, std::max(1e-4, 1.0 / (rows_ + kTailWeight)));
  return std::max(std::exp(kOwnWeight * std::log(own) + (1.0 - kOwnWeight) * std::log(expected)), models::kLeastProbability);
}

std::vector<std::string> TableScorer::MostSurprising() const {
  std::vector<int> order(columns_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return surprise_(a) > surprise_(b); });
  std::vector<std::string> out;
  for (int c : order) {
    if (static_cast<int>(out.size()) == kNamed || surprise_(c) < kUsual) break;
    out.push_back(columns_[c]);
  }
  return out;
}

}  // namespace outlier
