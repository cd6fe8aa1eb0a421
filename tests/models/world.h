// Shared by the model tests: seeded series and one-series runs. Hermetic: every draw comes from a named seed.
#pragma once
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"

namespace outlier::models {

inline std::unique_ptr<Model> MakeModel(std::string_view name, const Options& options) {
  for (int i = 0; i < kModelCount; ++i) {
    if (kModels[i].name == name) return kModels[i].make(options);
  }
  return nullptr;
}

inline Options WarmUp45(double floor = 0.1) {
  Options options;
  options.warm_up_seconds = 45;
  options.prior.scale_floor = floor;
  return options;
}

struct Noise {
  explicit Noise(uint64_t seed) : random(seed) {}
  double operator()() { return normal(random); }
  double uniform() { return std::uniform_real_distribution<double>()(random); }
  std::mt19937_64 random;
  std::normal_distribution<double> normal;
};

struct Verdict {
  double p, z, expected, lower, upper, rate;
  bool ready;
};

// One series of one model, tick by tick.
class Watch {
 public:
  Watch(std::string_view name, const Options& options) : model_(MakeModel(name, options)), mask_(1) {
    model_->Resize(1);
    out_.Resize(1);
    mask_(0) = true;
  }
  Verdict Tick(double x) { return Tick(Eigen::ArrayXXd::Constant(1, 1, x)); }
  Verdict Tick(const Eigen::ArrayXXd& x) {
    model_->Score(x, mask_, &out_);
    model_->Update(x, mask_);
    return {out_.tail_probability(0), out_.z(0), out_.expected(0), out_.lower(0), out_.upper(0), out_.rate(0), out_.ready(0)};
  }
  // The verdict without learning.
  Verdict Ask(double x) { return Ask(Eigen::ArrayXXd::Constant(1, 1, x)); }
  Verdict Ask(const Eigen::ArrayXXd& x) {
    model_->Score(x, mask_, &out_);
    return {out_.tail_probability(0), out_.z(0), out_.expected(0), out_.lower(0), out_.upper(0), out_.rate(0), out_.ready(0)};
  }
  void Skip(int64_t ticks) { model_->Skip(ticks); }
  void Gap() {
    mask_(0) = false;
    Tick(0.0);
    mask_(0) = true;
  }

 private:
  std::unique_ptr<Model> model_;
  Eigen::Array<bool, Eigen::Dynamic, 1> mask_;
  Assessment out_;
};

}  // namespace outlier::models
