#include "models/model.h"

namespace outlier::models {

#define OUTLIER_MODEL(name)                             \
  namespace name {                                      \
  std::unique_ptr<Model> Make(const Options& options);  \
  }
#include "models/models.def"
#undef OUTLIER_MODEL

const Registration kModels[] = {
#define OUTLIER_MODEL(name) {#name, &name::Make},
#include "models/models.def"
#undef OUTLIER_MODEL
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
