// Planted faults are found in time, and what healthy services do is not.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <utility>

#include "models/baseline.h"
#include "models/histogram_shape.h"
#include "models/series_table.h"
#include "models/special.h"
#include "tests/models/world.h"

namespace outlier::models {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kClear = 6.0;  // |z| no healthy series may hold

// Ticks from the fault's start until |z| is clear; -1 = never. `series(t)`, t < 0 is healthy.
int DelayOf(Watch* watch, const std::function<double(int)>& series, int healthy, int faulty) {
  for (int t = -healthy; t < 0; ++t) watch->Tick(series(t));
  for (int t = 0; t < faulty; ++t) {
    if (std::abs(watch->Tick(series(t)).z) >= kClear) return t + 1;
  }
  return -1;
}

double WorstOf(Watch* watch, const std::function<double(int)>& series, int ticks) {
  double worst = 0;
  for (int t = 0; t < ticks; ++t) worst = std::max(worst, std::abs(watch->Tick(series(t)).z));
  return worst;
}

// The rules stand twice, for one series in double precision and for four in single: one has to be the other, and to take up its state.
TEST(RobustLevel, JudgesAsItsRulesDoForOneSeriesAndGoesOnFromTheirState) {
  const Options options = WarmUp45(0.01);
  Baseline rules("robust_level", 1, TicksOf(options));  // whose bytes are also what version 1 of the family saved
  rules.Resize(1);
  std::unique_ptr<Model> lanes = MakeModel("robust_level", options), loaded;
  lanes->Resize(1);
  Assessment a, b;
  for (Assessment* out : {&a, &b}) out->Resize(1);
  const Eigen::Array<bool, Eigen::Dynamic, 1> mask = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(1, true);
  Noise noise(6);
  double most = 0;
  constexpr int kLoaded = 3000;
  for (int t = 0; t < 9000; ++t) {
    const bool spike = t % 700 < 3, held = t > 4000 && t < 6500;  // life, and a level that is accepted at last
    const double x = 10 + noise() + (spike ? 20 : 0) + (held ? 8 : 0);
    const double floor = std::max(options.prior.scale_floor, options.prior.relative_floor * rules.magnitude(0));
    const double z = rules.Judge(0, x, floor).z, allowed = 0.03 * (1 + std::abs(z));
    lanes->Step(Eigen::ArrayXXd::Constant(1, 1, x), mask, &a);
    ASSERT_NEAR(a.z(0), z, allowed) << t;
    most = std::max(most, std::abs(z));
    if (loaded != nullptr) {
      loaded->Step(Eigen::ArrayXXd::Constant(1, 1, x), mask, &b);
      ASSERT_NEAR(b.z(0), z, allowed) << t;
    }
    rules.Learn(0, x, floor);
    if (t != kLoaded) continue;
    std::string bytes;
    rules.Save(&bytes);
    loaded = MakeModel("robust_level", options);
    ASSERT_TRUE(loaded->Load(bytes));
  }
  EXPECT_GT(most, 5);
}

TEST(RobustLevel, FindsAStepAtOnceAndHoldsItForTenMinutes) {
  Noise noise(1);
  Watch watch("robust_level", WarmUp45());
  for (int t = 0; t < 60; ++t) watch.Tick(10 + 0.2 * noise());
  for (int t = 0; t < 600; ++t) {
    const Verdict v = watch.Tick(14 + 0.2 * noise());
    ASSERT_GT(v.z, kClear) << t;
    ASSERT_LT(v.p, 1e-3) << t;
  }
}

TEST(RobustLevel, AcceptsALevelThatHeldForHalfAnHour) {
  Noise noise(2);
  Watch watch("robust_level", WarmUp45());
  for (int t = 0; t < 100; ++t) watch.Tick(10 + 0.2 * noise());
  for (int t = 0; t < 1900; ++t) watch.Tick(14 + 0.2 * noise());
  for (int t = 0; t < 300; ++t) ASSERT_LT(std::abs(watch.Tick(14 + 0.2 * noise()).z), kClear);
  EXPECT_NEAR(watch.Ask(14).expected, 14, 0.2);
}

TEST(RobustLevel, DoesNotCallWhatItSawInWarmUpAFault) {
  // A job of 3 s each 20 s, and the same again after the warm-up.
  Watch watch("robust_level", WarmUp45());
  EXPECT_LT(WorstOf(&watch, [](int t) { return t % 20 < 3 ? 5.0 : 0.1; }, 600), kClear);
}

TEST(RobustLevel, ForgetsTheBusySecondsInWhichAServiceStarts) {
  Watch watch("robust_level", WarmUp45());
  const auto cpu = [](int t) { return t < -58 ? 3.0 : t < 0 ? 0.1 : 3.0; };
  EXPECT_EQ(DelayOf(&watch, cpu, 60, 5), 1);
}

TEST(Step, FindsAJumpOfAWanderingSeries) {
  Noise noise(3);
  double level = 100;
  Watch watch("step", WarmUp45());
  for (int t = 0; t < 2000; ++t) watch.Tick(level += noise());
  const Verdict v = watch.Tick(level += 15);
  EXPECT_GT(v.z, kClear);
  EXPECT_NEAR(v.expected, level - 15, 1.0);
  EXPECT_LT(watch.Tick(level += 0.5).z, kClear);
}

TEST(Step, DoesNotJudgeTheFirstTickAfterAGap) {
  Watch watch("step", WarmUp45());
  for (int t = 0; t < 200; ++t) watch.Tick(10);
  watch.Gap();
  EXPECT_EQ(watch.Tick(1000).z, 0.0);
}

class HeldRecord : public testing::Test {
 protected:
  static constexpr int kMinute = 6, kHour = 60 * kMinute, kDay = 24 * kHour;  // ticks of 10 s
  static Options TenSeconds() {
    Options options = WarmUp45(0.1);
    options.tick_seconds = 10;
    return options;
  }
  // The sum of noise and what `usual` says, in logarithms; after three days and some hours `fault` more.
  static int DelayOfAfterDays(double hours, const std::function<double(int)>& usual, const std::function<double(int)>& fault) {
    Watch watch("held_record", TenSeconds());
    Noise noise(11);
    const int healthy = 3 * kDay + static_cast<int>(hours * kHour);
    return DelayOf(&watch, [&](int t) { return 4 + usual(t + healthy) + 0.1 * noise() + (t >= 0 ? fault(t) : 0.0); }, healthy, kHour);
  }
  static double Tide(int t) { return 0.4 * std::sin(2 * M_PI * t / kDay); }
  // Eight times the work for a quarter of each hour.
  static double Phases(int t) { return t % kHour < kHour / 4 ? std::log(8.0) : 0.0; }
};

TEST_F(HeldRecord, IsBrokenByAStepInsideTheTideOfADay) {
  const auto doubled = [](int) { return std::log(2.0); };
  for (const double hours : {0.0, 6.0, 18.0}) {
    const int delay = DelayOfAfterDays(hours, Tide, doubled);
    EXPECT_GE(delay, 4 * kMinute) << hours << ": held for five minutes";
    EXPECT_LE(delay, 7 * kMinute) << hours;
  }
}

TEST_F(HeldRecord, IsBrokenByTwiceWhatPhasesOfWorkBring) {
  const int delay = DelayOfAfterDays(0.5, Phases, [](int) { return std::log(16.0); });
  EXPECT_GE(delay, 4 * kMinute);
  EXPECT_LE(delay, 7 * kMinute);
}

TEST_F(HeldRecord, IsBrokenByARampOfAnHourThatIsSteeperThanTheTide) {
  const int delay = DelayOfAfterDays(18, Tide, [](int t) { return std::log(3.0) * std::min(1.0, static_cast<double>(t) / kHour); });
  EXPECT_GE(delay, 10 * kMinute);
}

TEST_F(HeldRecord, IsNotBrokenByWhatIsShorterThanFiveMinutesOrWasHeldBefore) {
  EXPECT_EQ(DelayOfAfterDays(0.5, Phases, [](int t) { return t < 4 * kMinute ? 5.0 : 0.0; }), -1);
  EXPECT_EQ(DelayOfAfterDays(0.5, Phases, [](int t) { return t < kHour / 5 ? std::log(8.0) : 0.0; }), -1);
}

TEST_F(HeldRecord, IsTheNewOneWhenTheHourIsOver) {
  Watch watch("held_record", TenSeconds());
  Noise noise(12);
  for (int t = 0; t < 2 * kDay; ++t) watch.Tick(4 + 0.1 * noise());
  double worst = 0;
  for (int t = 0; t < 2 * kHour; ++t) worst = std::max(worst, watch.Tick(6 + 0.1 * noise()).z);
  const Verdict told = watch.Ask(6);
  EXPECT_GT(told.lower, 3.5) << "bounds are for people: both are levels that were seen";
  EXPECT_LT(told.upper, 7);
  EXPECT_GT(worst, kClear);
  EXPECT_LT(watch.Tick(6).z, 1.0);
  EXPECT_LT(WorstOf(&watch, [&](int) { return 6 + 0.1 * noise(); }, kDay), kClear);
}

TEST_F(HeldRecord, IsNotWhatLiesBetweenTwoTimesInWhichNobodyWatched) {
  Watch watch("held_record", TenSeconds());
  Noise noise(13);
  for (int t = 0; t < 2 * kDay; ++t) watch.Tick(4 + 0.1 * noise());
  watch.Skip(kHour);
  EXPECT_EQ(WorstOf(&watch, [&](int) { return 9.0; }, kHour), 0.0) << "what was held before that does not lie next to it";
}

TEST_F(HeldRecord, IsNotTheFillingOfCachesAfterABoot) {
  Options options = TenSeconds();
  options.prior.scale_floor = 0.01;
  options.prior.relative_floor = 0;
  Watch watch("held_record", options);
  Noise noise(14);
  const double warm = 5, grows = kHour / 12;  // seconds
  for (int t = 0; t < 2 * kDay; ++t) watch.Tick(warm + 0.01 * noise());
  watch.Skip(kHour / 60);
  const auto fills = [&](int t) { return warm + std::log(1 - 0.5 * std::exp(-(t + 1) / grows)) + 0.01 * noise(); };
  EXPECT_LT(WorstOf(&watch, fills, 4 * kHour), kClear);
}

class Leak : public testing::Test {
 protected:
  static Options Bytes() {
    Options options = WarmUp45(kMiB);
    options.prior.relative_floor = 0.02;
    return options;
  }
};

TEST_F(Leak, OfFiveMiBASecondIsClearWithin25SecondsWithItsRate) {
  Noise noise(4);
  Watch watch("drift", Bytes());
  const auto memory = [&](int t) { return 100 * kMiB + 0.1 * kMiB * noise() + (t > 0 ? 5 * kMiB * t : 0); };
  const int delay = DelayOf(&watch, memory, 60, 60);
  EXPECT_GT(delay, 0);
  EXPECT_LE(delay, 25);
  for (int t = delay; t < 60; ++t) {
    const Verdict v = watch.Tick(memory(t));
    ASSERT_GT(v.z, kClear) << t;
    ASSERT_LT(v.p, 1e-4) << t;
    ASSERT_NEAR(v.rate, 5 * kMiB, 0.5 * kMiB) << t;
    ASSERT_NEAR(v.expected, 100 * kMiB, 30 * kMiB) << t;
  }
}

TEST_F(Leak, SlowOnesAreFoundByTheLongerWindows) {
  Noise noise(5);
  Watch watch("drift", Bytes());
  const auto memory = [&](int t) { return 50 * kMiB + 0.1 * kMiB * noise() + (t > 0 ? 0.3 * kMiB * t : 0); };
  const int delay = DelayOf(&watch, memory, 300, 300);
  EXPECT_GT(delay, 0);
  EXPECT_LE(delay, 120);
}

TEST_F(Leak, ThatEndedIsNotTold40SecondsLater) {
  Watch watch("drift", Bytes());
  const auto memory = [](int t) { return 100 * kMiB + 5 * kMiB * std::clamp(t, 0, 30); };
  DelayOf(&watch, memory, 60, 30);
  for (int t = 30; t < 70; ++t) watch.Tick(memory(t));
  for (int t = 70; t < 400; ++t) ASSERT_LT(watch.Tick(memory(t)).z, kClear) << t;
}

TEST_F(Leak, IsNotOneAllocation) {
  Watch watch("drift", Bytes());
  EXPECT_LT(WorstOf(&watch, [](int t) { return t < 100 ? 30 * kMiB : 80 * kMiB; }, 400), kClear);
}

TEST_F(Leak, IsNotAServiceThatFillsItsCacheWhileItStarts) {
  Watch watch("drift", Bytes());
  EXPECT_LT(WorstOf(&watch, [](int t) { return 30 * kMiB + kMiB * 3 * std::min(t, 40); }, 900), kClear);
}

TEST_F(Leak, IsNotTheSawToothOfAGarbageCollector) {
  for (const int period : {6, 25, 45, 90}) {
    Watch watch("drift", Bytes());
    EXPECT_LT(WorstOf(&watch, [&](int t) { return 60 * kMiB + kMiB * 1.0 * (t % period); }, 1500), kClear) << period;
  }
}

TEST_F(Leak, IsNotNoiseAroundALevel) {
  Noise noise(6);
  Watch watch("drift", Bytes());
  EXPECT_LT(WorstOf(&watch, [&](int) { return 200 * kMiB + 2 * kMiB * noise(); }, 3000), kClear);
}

TEST(Silence, OfAServiceThatWorkedEvery100MillisecondsIsFoundWithin12Seconds) {
  Noise noise(7);
  Watch watch("silence", WarmUp45(0.5));
  const auto rate = [&](int t) { return t < 0 ? 10 + std::round(noise()) : 0.0; };
  const int delay = DelayOf(&watch, rate, 60, 30);
  EXPECT_GE(delay, 4);
  EXPECT_LE(delay, 12);
  EXPECT_LT(watch.Tick(0).z, -kClear);
  EXPECT_LT(watch.Tick(0).p, 1e-4);
  EXPECT_EQ(watch.Tick(10).z, 0.0);
}

TEST(Silence, IsNotThePauseOfAPeriodicJobUpToThreeTimesItsLongest) {
  Watch watch("silence", WarmUp45(0.5));
  const auto job = [](int t) { return (t >= 400 && t < 450) ? 0.0 : t % 20 < 3 ? 30.0 : 0.0; };
  EXPECT_LT(WorstOf(&watch, job, 800), kClear);
}

TEST(Silence, IsNotAWorkloadWithoutProcesses) {
  Watch watch("silence", WarmUp45(0.5));
  for (int t = 0; t < 60; ++t) watch.Tick(10);
  for (int t = 0; t < 60; ++t) watch.Gap();
  EXPECT_GE(watch.Ask(0).z, -1.0);  // the first second of silence after it came back
}

TEST(Silence, IsNotABurstyServiceThatOftenRests) {
  Noise noise(8);
  Watch watch("silence", WarmUp45(0.5));
  EXPECT_LT(WorstOf(&watch, [&](int) { return noise.uniform() < 0.5 ? 0.0 : 200 * noise.uniform(); }, 5000), kClear);
}

TEST(GammaPoisson, FindsErrorsWhereThereWereNone) {
  Options options = WarmUp45();
  options.prior.rate = 0.05;
  Watch watch("gamma_poisson", options);
  for (int t = 0; t < 60; ++t) watch.Tick(0);
  for (int t = 0; t < 60; ++t) {
    const Verdict v = watch.Tick(200);
    ASSERT_GT(v.z, 15.0) << t;
    ASSERT_LT(v.p, 1e-6) << t;
    ASSERT_LT(v.expected, 10.0) << t;
  }
}

TEST(GammaPoisson, DoesNotCallALearnedCronJobAFault) {
  Noise noise(9);
  Options options = WarmUp45();
  options.prior.rate = 0.05;
  Watch watch("gamma_poisson", options);
  EXPECT_LT(WorstOf(&watch, [&](int t) { return t % 20 == 0 ? std::floor(5 + 45 * noise.uniform()) : 0.0; }, 1200), kClear);
}

TEST(GammaPoisson, TellsAFactFromTheFirstTick) {
  Options options;
  options.warm_up_seconds = 0;
  options.prior.rate = 1.0 / 86400;
  options.prior.weight = 3600;
  Watch watch("gamma_poisson", options);
  const Verdict v = watch.Tick(1);
  EXPECT_TRUE(v.ready);
  EXPECT_LT(v.p, 1e-4);
}

class Latency : public testing::Test {
 protected:
  static constexpr int kWidth = 52;
  static Options Shape() {
    Options options = WarmUp45();
    options.width = kWidth;
    return options;
  }
  static int BucketOf(double seconds) {
    int k = 0;
    while (k + 1 < kWidth && histogram_shape::BucketLowerSeconds(k + 1) <= seconds) ++k;
    return k;
  }
  static Eigen::ArrayXXd Draw(int n, const std::function<double()>& seconds) {
    Eigen::ArrayXXd x = Eigen::ArrayXXd::Zero(kWidth, 1);
    for (int i = 0; i < n; ++i) x(BucketOf(seconds()), 0) += 1;
    return x;
  }
};

TEST_F(Latency, OfAFileSystemThatAnswers50MillisecondsSlowerIsClearWithin5Ticks) {
  Noise noise(10);
  Watch watch("histogram_shape", Shape());
  const auto healthy = [&] { return 100e-6 * std::exp(0.3 * noise()); };
  for (int t = 0; t < 60; ++t) watch.Tick(Draw(10, healthy));
  int delay = -1;
  for (int t = 0; t < 30; ++t) {
    const Verdict v = watch.Tick(Draw(8, [&] { return 0.05 + healthy(); }));
    if (delay < 0 && v.z > 15 && v.p < 1e-6) delay = t + 1;
    if (delay > 0) {
      ASSERT_GT(v.z, 15) << t;  // the last verdict stands between two windows
      ASSERT_NEAR(v.expected, 100e-6, 40e-6);
      ASSERT_LT(v.upper, 1e-3);
    }
  }
  EXPECT_GT(delay, 0);
  EXPECT_LE(delay, 5);
}

TEST_F(Latency, IsToldAsDownWhenItFalls) {
  Noise noise(11);
  Watch watch("histogram_shape", Shape());
  for (int t = 0; t < 60; ++t) watch.Tick(Draw(50, [&] { return 1e-3 * std::exp(0.3 * noise()); }));
  EXPECT_LT(watch.Tick(Draw(50, [&] { return 10e-6 * std::exp(0.3 * noise()); })).z, -kClear);
}

TEST_F(Latency, MixturesOfCacheHitsAndMissesAreLife) {
  Noise noise(12);
  Watch watch("histogram_shape", Shape());
  double misses = 0.1, worst = 0;
  for (int t = 0; t < 3000; ++t) {
    misses = std::clamp(misses + 0.01 * noise(), 0.02, 0.25);
    const Verdict v = watch.Tick(Draw(100, [&] { return (noise.uniform() < misses ? 4e-3 : 2e-6) * std::exp(0.5 * noise()); }));
    worst = std::max(worst, std::abs(v.z));
  }
  EXPECT_LT(worst, kClear);
}

// The law of models/histogram_shape.h bucket by bucket, in double precision, of one series that has enough calls in every tick.
class PlainShape {
 public:
  explicit PlainShape(const Options& options) : ticks_(TicksOf(options)), distance_("histogram_shape.distance", 1, Own(ticks_)), past_(options.width, 0.0) {
    distance_.Resize(1);
  }
  double Tick(const Eigen::ArrayXXd& x) {
    const double n = x.sum(), width = static_cast<double>(past_.size()), total = std::accumulate(past_.begin(), past_.end(), 0.0);
    double z = 0, octaves = 0, floor = 0.25, dispersion = 1;
    if (total > 0) {
      double difference = 0, shift = 0, mean = 0, square = 0, o = 0, e = 0;
      std::vector<std::pair<double, double>> pools;
      for (int k = 0; k < x.rows(); ++k) {
        const double share = (past_[k] + 0.02) / (total + 0.02 * width);
        difference += share - x(k, 0) / n;
        octaves += 0.5 * std::abs(difference);
        shift += difference;
        mean += share * k;
        square += share * k * k;
        o += x(k, 0);
        e += n * share;
        if (e < std::min(5.0, n / 4)) continue;
        pools.push_back({o, e});
        o = e = 0;
      }
      if (e >= 1) {
        pools.push_back({o, e});
      } else {
        pools.back().first += o;
        pools.back().second += e;
      }
      double g = 0;
      for (const auto& [observed, expected] : pools) g += observed > 0 ? 2 * observed * std::log(observed / expected) : 0;
      const double degrees = static_cast<double>(pools.size()) - 1;
      octaves = shift >= 0 ? octaves : -octaves;
      floor = std::max(floor, 0.5 * std::sqrt(std::max(square - mean * mean, 0.0)) / std::sqrt(n));
      dispersion = degrees >= 1 ? std::max(g / degrees, 0.0) : 1;
      z = distance_.Judge(0, octaves, floor).z;
      const bool chance = degrees < 1 || ChiSquareTail(g / std::max(1.0, overdispersion_), degrees) > 0.01;
      if (chance) z = std::clamp(z, -2.5758293035489004, 2.5758293035489004);
    }
    const bool ready = age_ >= ticks_.warm_up_ticks && windows_ >= 3, suspect = ready && std::abs(z) > 4;
    age_ += 1;
    windows_ += 1;
    if (windows_ > 1) {
      distance_.Learn(0, octaves, floor);
      if (!suspect) overdispersion_ += std::max(ticks_.alpha, 1 / windows_) * (std::min(dispersion, 50.0) - overdispersion_);
    }
    for (int k = 0; k < x.rows(); ++k) past_[k] = (1 - ticks_.alpha) * past_[k] + (suspect ? 0.0 : std::min(1.0, 200 / n)) * x(k, 0);
    return ready ? z : 0.0;
  }

 private:
  static BaselineOptions Own(BaselineOptions ticks) {
    ticks.settle_ticks = 0;
    ticks.warm_up_ticks = 2;
    ticks.teach_ticks = 1;
    return ticks;
  }
  BaselineOptions ticks_;
  Baseline distance_;
  std::vector<double> past_;
  double age_ = 0, windows_ = 0, overdispersion_ = 0;
};

TEST_F(Latency, IsJudgedByWhatWasUsedAsByAllBuckets) {
  for (const int lowest : {0, 1, 14, 37}) {
    Noise noise(14);
    Options options = Shape();
    options.width = 51;  // the last block is not full
    Watch watch("histogram_shape", options);
    PlainShape plain(options);
    double most = 0;
    for (int t = 0; t < 600; ++t) {
      Eigen::ArrayXXd x = Eigen::ArrayXXd::Zero(options.width, 1);
      for (int n = 0; n < 30 + t % 50; ++n) {
        const double bucket = lowest + (noise.uniform() < 0.1 ? 13 : 5 + 1.5 * noise() + (t % 200 > 180 ? 4 : 0));
        x(std::clamp(static_cast<int>(std::lround(bucket)), 0, options.width - 1), 0) += 1;
      }
      const double z = plain.Tick(x);
      ASSERT_NEAR(watch.Tick(x).z, z, 1e-3 * (1 + std::abs(z))) << lowest << " " << t;
      most = std::max(most, z);
    }
    EXPECT_GT(most, 5) << lowest;
  }
}

// What version 1 wrote: counts as doubles, and of the standing verdict the logarithm of p.
TEST_F(Latency, IsJudgedOnFromTheStateOfVersion1) {
  constexpr int kStanding = 6, kOld[] = {0, 1, 2, 5, 6, -1, 10};  // of the columns of version 2; -1: log p
  Noise noise(15);
  const auto healthy = [&] { return 100e-6 * std::exp(0.3 * noise()); };
  const auto model = MakeModel("histogram_shape", Shape());
  model->Resize(1);
  Assessment out;
  out.Resize(1);
  const Eigen::Array<bool, Eigen::Dynamic, 1> mask = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(1, true);
  const auto tick = [&](Model* m, const Eigen::ArrayXXd& x) {
    m->Step(x, mask, &out);
    return std::pair(out.z(0), out.tail_probability(0));
  };
  for (int t = 0; t < 200; ++t) tick(model.get(), Draw(8, healthy));
  std::string now, before;
  model->Save(&now);
  std::string_view rest = now;
  SeriesTable table("histogram_shape", 2, 11), old("histogram_shape", 1, 7);
  Baseline distance("histogram_shape.distance", 1, {});
  ASSERT_TRUE(table.Load(&rest) && distance.Load(&rest));
  old.Resize(1);
  const double p = std::max(table.at(kStanding + 1, 0), ChiSquareTail(table.at(kStanding + 2, 0), table.at(kStanding + 3, 0)));
  for (int f = 0; f < 7; ++f) old.at(f, 0) = kOld[f] < 0 ? std::log(p) : table.at(kOld[f], 0);
  old.Save(&before);
  distance.Save(&before);
  ASSERT_EQ(rest.size(), 2 * kWidth * sizeof(float));
  for (; !rest.empty(); rest.remove_prefix(sizeof(float))) {
    float count;
    std::memcpy(&count, rest.data(), sizeof count);
    const double wide = count;
    before.append(reinterpret_cast<const char*>(&wide), sizeof wide);
  }
  const auto loaded = MakeModel("histogram_shape", Shape());
  ASSERT_TRUE(loaded->Load(before));
  ASSERT_EQ(loaded->series(), 1);
  for (int t = 0; t < 50; ++t) {
    const Eigen::ArrayXXd x = Draw(8, healthy);
    const auto [z, p_now] = tick(model.get(), x);
    const auto [z_loaded, p_loaded] = tick(loaded.get(), x);
    ASSERT_NEAR(z, z_loaded, 1e-5) << t;
    ASSERT_NEAR(p_now, p_loaded, 1e-5) << t;
  }
}

TEST_F(Latency, OfFewCallsIsJudgedOverSeveralTicks) {
  Noise noise(13);
  Watch watch("histogram_shape", Shape());
  const auto healthy = [&] { return 100e-6 * std::exp(0.5 * noise()); };
  double worst = 0;
  for (int t = 0; t < 600; ++t) worst = std::max(worst, std::abs(watch.Tick(Draw(1, healthy)).z));
  EXPECT_LT(worst, kClear);
  for (int t = 0; t < 10; ++t) worst = watch.Tick(Draw(1, [&] { return 0.05 + healthy(); })).z;
  EXPECT_GT(worst, kClear);
}

}  // namespace
}  // namespace outlier::models
