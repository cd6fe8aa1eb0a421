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

void Assessment::Resize(int64_t series) {
  tail_probability.setOnes(series);
  z.setZero(series);
  expected.setZero(series);
  lower.setZero(series);
  upper.setZero(series);
  rate.setZero(series);
  ready.setConstant(series, false);
}

}  // namespace outlier::models
