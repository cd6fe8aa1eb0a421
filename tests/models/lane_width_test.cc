// Families of lanes are compiled for every width (models/lane_width.h); whichever a machine takes must not be seen in what they say or save.
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

#include "models/model.h"

namespace outlier::models {
namespace four {
#define OUTLIER_MODEL(name)
#define OUTLIER_LANE_MODEL(name)                       \
  namespace name {                                     \
  std::unique_ptr<Model> Make(const Options& options); \
  }
#include "models/models.def"
#undef OUTLIER_LANE_MODEL
}  // namespace four

namespace {

const Registration kNarrow[] = {
#define OUTLIER_LANE_MODEL(name) {#name, &four::name::Make},
#include "models/models.def"
#undef OUTLIER_LANE_MODEL
#undef OUTLIER_MODEL
};

std::unique_ptr<Model> MakeWidest(std::string_view name, const Options& options) {
  for (int i = 0; i < kModelCount; ++i) {
    if (kModels[i].name == name) return kModels[i].make(options);
  }
  return nullptr;
}

std::string Bytes(const Model& model) {
  std::string out;
  model.Save(&out);
  return out;
}

class LaneWidth : public testing::TestWithParam<Registration> {};

TEST_P(LaneWidth, IsNotSeenInWhatIsToldNorInWhatIsSaved) {
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this machine has no AVX2: there is one width only";
#else
  GTEST_SKIP() << "there is one width only on this kind of machine";
#endif
  constexpr int64_t kSeries = 8 * 5 + 3;  // the last block is not full, at any width
  Options options;
  options.tick_seconds = 60;  // hours pass
  options.warm_up_seconds = 1800;
  options.relearn_seconds = 3600;
  const auto narrow = GetParam().make(options), widest = MakeWidest(GetParam().name, options);
  ASSERT_NE(widest, nullptr);
  narrow->Resize(kSeries);
  widest->Resize(kSeries);
  std::mt19937_64 random(7);
  std::student_t_distribution<double> heavy(2.0);
  Eigen::ArrayXXd x(1, kSeries);
  Eigen::Array<bool, Eigen::Dynamic, 1> mask(kSeries);
  Assessment told, told_by_widest;
  told.Resize(kSeries);
  told_by_widest.Resize(kSeries);
  for (int t = 0; t < 4000; ++t) {
    for (int64_t i = 0; i < kSeries; ++i) {
      const bool flat = i % 7 == 0, far = i % 5 == 1 && t % 900 > 700;
      x(0, i) = flat ? 3.0 : 10.0 + heavy(random) + (far ? 500.0 : 0.0);
      mask(i) = t > 8 * i && random() % 50 != 0 && (i / 8 != 2 || t % 100 < 90);
    }
    if (t % 997 == 0) x(0, t % kSeries) = std::numeric_limits<double>::quiet_NaN();
    if (t % 991 == 0) x(0, (t + 1) % kSeries) = t % 2 == 0 ? 1e300 : -1e300;
    narrow->Step(x, mask, &told);
    widest->Step(x, mask, &told_by_widest);
    for (const auto column : {&Assessment::tail_probability, &Assessment::z, &Assessment::expected, &Assessment::lower, &Assessment::upper}) {
      ASSERT_TRUE(((told.*column) == (told_by_widest.*column)).all()) << "tick " << t;
    }
    ASSERT_TRUE((told.ready == told_by_widest.ready).all()) << "tick " << t;
    if (t == 1500) {
      narrow->Forget(9);
      widest->Forget(9);
      narrow->Adopt(1, 42);
      widest->Adopt(1, 42);
    }
  }
  const std::string saved = Bytes(*narrow);
  EXPECT_EQ(saved, Bytes(*widest));
  const auto restored = MakeWidest(GetParam().name, options);
  ASSERT_TRUE(restored->Load(saved));
  EXPECT_EQ(saved, Bytes(*restored));
}

INSTANTIATE_TEST_SUITE_P(Families, LaneWidth, testing::ValuesIn(kNarrow),
                         [](const testing::TestParamInfo<Registration>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace outlier::models
