#include "models/mahalanobis.h"

#include <algorithm>
#include <cmath>

#include "models/record_table.h"
#include "models/table_model.h"
#include "models/tail.h"

namespace outlier::models::mahalanobis {
namespace {

constexpr double kShrink = 0.2;        // of the off-diagonal moments
constexpr double kNugget = 0.16;       // added to each second moment: a z of 0.4 is nothing
constexpr double kRenew = 30.0;        // ticks between factorisations
constexpr double kMostTaught = 8.0;    // d^2 from which an observation is pulled in
constexpr double kTailPrior = 200.0;   // observations
constexpr double kTailMemory = 4.0;    // half-lives of the moments: extremes are rare
constexpr double kMostNumber = 1e6;
constexpr double kLeastPivot = 1e-9;
constexpr double kUnit = 1.2;          // d is about 0.8 for Gaussian numbers after shrinkage: near 1 suits the tail's prior

// Elements of a symmetric matrix of this width, at least 1.
int Packed(int width) { return std::max(width, 1) * (std::max(width, 1) + 1) / 2; }

enum Head { kLearned, kHalf, kTenth, kHundredth, kExcess, kExcessSquare, kHeads };

class Mahalanobis final : public TableModel<RecordTable<double>> {
 public:
  explicit Mahalanobis(const Options& options)
      : TableModel(RecordTable<double>("mahalanobis", 1, kHeads + 2 * Packed(options.width))),
        width_(std::max(options.width, 1)),
        packed_(Packed(width_)),
        shape_(options.prior.tail_shape),
        warm_up_(std::max(std::ceil(options.warm_up_seconds / options.tick_seconds), 2.0 * width_ + 1.0)),
        alpha_(-std::expm1(-M_LN2 * options.tick_seconds / options.half_life_seconds)),
        x_(Eigen::ArrayXd::Zero(width_)),
        solved_(Eigen::ArrayXd::Zero(width_)) {}
  int width() const override { return width_; }

  void Score(const Values& x, const SeriesMask& mask, Assessment* out) const override {
    for (int64_t i = 0; i < series(); ++i) {
      const double* group = table_.at(i);
      const bool ready = group[kLearned] >= warm_up_;
      out->z(i) = 0.0;
      out->tail_probability(i) = 1.0;
      out->ready(i) = ready;
      out->Expect(i, group[kHalf], 0.0, group[kHundredth]);
      if (!ready || !mask(i) || !x.col(i).isFinite().all()) continue;
      double varied;
      const double distance = std::min(kUnit * std::sqrt(SquareDistance(group, x.col(i), &varied)), kMostZ);
      out->z(i) = distance;
      out->tail_probability(i) = Probability(TailOf(group), distance, varied);
    }
  }

  void Update(const Values& x, const SeriesMask& mask) override {
    for (int64_t i = 0; i < series(); ++i) {
      if (mask(i) && x.col(i).isFinite().all()) Learn(x.col(i), table_.at(i));
    }
  }

 private:
  using Column = Eigen::Ref<const Eigen::ArrayXd>;
  // Lower triangles, packed by columns: column c holds rows c..width-1.
  const double* Moments(const double* group) const { return group + kHeads; }
  const double* Factor(const double* group) const { return group + kHeads + packed_; }
  static Tail TailOf(const double* group) {
    return {group[kHalf], group[kTenth], group[kHundredth], group[kExcess], group[kExcessSquare]};
  }
  static void Keep(const Tail& tail, double* group) {
    group[kHalf] = tail.half;
    group[kTenth] = tail.tenth;
    group[kHundredth] = tail.hundredth;
    group[kExcess] = tail.excess;
    group[kExcessSquare] = tail.excess_square;
  }
  bool Factored(const double* group) const { return group[kLearned] >= 2.0 * width_; }

  // Below the median, d of several numbers is no normal |z|: it keeps away from 0, the more the more numbers there are.
  double Probability(const Tail& tail, double distance, double varied) const {
    if (varied <= 1.0 || distance >= tail.half) return tail.Probability(distance, shape_);
    const double cube_root = std::cbrt(distance / tail.half), spread = 2.0 / (9.0 * varied);
    return 1.0 - 0.5 * std::erfc((1.0 - spread) * (1.0 - cube_root * cube_root) / std::sqrt(2.0 * spread));
  }

  // Solves L y = x column by column: only products of a number and a column, which vectorise without reordering a sum.
  // `varied`: the numbers that were ever not zero, at least 1.
  double SquareDistance(const double* group, const Column& x, double* varied) const {
    solved_ = x.max(-kMostNumber).min(kMostNumber);
    const double* column = Factor(group);
    const double* moments = Moments(group);
    double square = 0.0, seen = 0.0;
    for (int c = 0; c < width_; ++c) {
      const int below = width_ - c - 1;
      const double y = solved_(c) / column[0];
      square += y * y;
      seen += moments[0] > 0.0 ? 1.0 : 0.0;
      solved_.tail(below) -= y * Eigen::Map<const Eigen::ArrayXd>(column + 1, below);
      column += below + 1;
      moments += below + 1;
    }
    *varied = std::max(seen, 1.0);
    return square / *varied;
  }

  // Cholesky factor of the shrunk moments, right-looking: the diagonal is kept whole, so pivots stay above a share of it.
  void Renew(double* group) const {
    double* factor = group + kHeads + packed_;
    const double* moments = Moments(group);
    for (int c = 0, at = 0; c < width_; at += width_ - c, ++c) {
      factor[at] = moments[at] + kNugget;
      for (int r = 1; r < width_ - c; ++r) factor[at + r] = (1.0 - kShrink) * moments[at + r];
    }
    double* column = factor;
    for (int c = 0; c < width_; ++c) {
      const int below = width_ - c - 1;
      column[0] = std::sqrt(std::max(column[0], kLeastPivot));
      Eigen::Map<Eigen::ArrayXd> rest(column + 1, below);
      rest /= column[0];
      double* later = column + below + 1;
      for (int k = 0; k < below; ++k) {
        const int length = below - k;
        Eigen::Map<Eigen::ArrayXd>(later, length) -= rest(k) * rest.tail(length);
        later += length;
      }
      column += below + 1;
    }
  }

  void Learn(const Column& x, double* group) {
    double& learned = group[kLearned];
    double pulled = 1.0;
    if (learned == 0.0) {
      Keep(Tail::Prior(shape_), group);
    } else if (Factored(group)) {
      double varied;
      const double square = SquareDistance(group, x, &varied);
      Tail tail = TailOf(group);
      tail.Learn(std::min(kUnit * std::sqrt(square), kMostZ), std::max(alpha_ / kTailMemory, 1.0 / (learned + kTailPrior)));
      Keep(tail, group);
      if (square > kMostTaught) pulled = std::sqrt(kMostTaught / square);
    }
    x_ = pulled * x.max(-kMostNumber).min(kMostNumber);
    // Prior: numbers of unit variance, uncorrelated, worth 2 x width observations; for those that ever were not zero.
    const double alpha = std::max(alpha_, 1.0 / (learned + 2.0 * width_ + 1.0));
    double* column = group + kHeads;
    for (int c = 0; c < width_; ++c) {
      const int length = width_ - c;
      if (column[0] == 0.0 && x_(c) != 0.0) column[0] = 1.0;
      Eigen::Map<Eigen::ArrayXd> moments(column, length);
      moments += alpha * (x_(c) * x_.tail(length) - moments);
      column += length;
    }
    learned += 1.0;
    if (learned == 2.0 * width_ || (learned > 2.0 * width_ && std::fmod(learned, kRenew) == 0.0)) Renew(group);
  }

  int width_, packed_;
  double shape_, warm_up_, alpha_;
  Eigen::ArrayXd x_;
  mutable Eigen::ArrayXd solved_;  // workspace
};

}  // namespace

std::unique_ptr<Model> Make(const Options& options) { return std::make_unique<Mahalanobis>(options); }

}  // namespace outlier::models::mahalanobis
