#include "models/model.h"

namespace outlier::models {

#define OUTLIER_MODEL(name)                             \
  namespace name {                                      \
  std::unique_ptr<Model> Make(const Options& options);  \
  }
// The widest that this machine can run.
#ifdef OUTLIER_HAS_EIGHT_LANES
#define OUTLIER_WIDEST(name) __builtin_cpu_supports("avx2") ? eight::name::Make(options) : four::name::Make(options)
#else
#define OUTLIER_WIDEST(name) four::name::Make(options)
#endif
#define OUTLIER_LANE_MODEL(name)                                                                              \
  namespace four::name {                                                                                      \
  std::unique_ptr<Model> Make(const Options& options);                                                        \
  }                                                                                                           \
  namespace eight::name {                                                                                     \
  std::unique_ptr<Model> Make(const Options& options);                                                        \
  }                                                                                                           \
  namespace name {                                                                                            \
  std::unique_ptr<Model> Make(const Options& options) { return OUTLIER_WIDEST(name); }                        \
  }
#include "models/models.def"
#undef OUTLIER_MODEL
#undef OUTLIER_LANE_MODEL

const Registration kModels[] = {
#define OUTLIER_MODEL(name) {#name, &name::Make},
#define OUTLIER_LANE_MODEL(name) OUTLIER_MODEL(name)
#include "models/models.def"
#undef OUTLIER_MODEL
#undef OUTLIER_LANE_MODEL
};
const int kModelCount = static_cast<int>(sizeof kModels / sizeof kModels[0]);

void Model::Step(const Values& x, const SeriesMask& mask, Assessment* out) {
  Score(x, mask, out);
  Update(x, mask);
}

void Model::StepCounts(const FloatValues& x, const SeriesMask& mask, Assessment* out) {
  const Eigen::ArrayXXd wide = x.cast<double>();
  Step(wide, mask, out);
}

void Assessment::ResizeToJudge(int64_t series) {
  tail_probability.setOnes(series);
  z.setZero(series);
  ready.setConstant(series, false);
  for (Eigen::ArrayXd* column : {&expected, &lower, &upper, &rate}) column->resize(0);
}

void Assessment::Resize(int64_t series) {
  ResizeToJudge(series);
  for (Eigen::ArrayXd* column : {&expected, &lower, &upper, &rate}) column->setZero(series);
}

}  // namespace outlier::models
