// Every line of detectors.def, and the services that issue the engine's promises, tick by tick.
#include "userspace/detectors/detectors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

namespace outlier {
namespace {

constexpr FeatureSpec kSpecs[] = {
    {"process.cpu.utilization", "1", "", "", FeatureKind::kUtilization, -1},
    {"process.cpu.run_delay", "s/s", "", "", FeatureKind::kUtilization, -1},
    {"process.memory.usage", "By", "", "", FeatureKind::kBytes, -1},
    {"process.disk.io", "By/s", "direction", "read", FeatureKind::kByteRate, -1},
    {"process.context_switches", "{switch}/s", "type", "voluntary", FeatureKind::kRate, -1},
    {"process.context_switches", "{switch}/s", "type", "involuntary", FeatureKind::kRate, -1},
    {"process.thread.count", "{thread}", "", "", FeatureKind::kPopulation, -1},
    {"process.syscall.errors", "{error}/s", "syscall.class", "file", FeatureKind::kCount, 0},
    {"process.syscall.duration", "s", "syscall.class", "file", FeatureKind::kDuration, 0},
    {"workload.restarts", "{restart}", "", "", FeatureKind::kFact, -1},
    {"process.uptime", "s", "", "", FeatureKind::kShown, -1},
    {"process.syscall.rate", "{call}/s", "syscall.class", "file", FeatureKind::kRate, 0},
    {"workload.process.started", "{process}/s", "", "", FeatureKind::kCount, -1},
};
enum Column { kCpu, kRunDelay, kMemory, kDisk, kVoluntary, kInvoluntary, kThreads, kErrors, kDuration, kRestarts, kUptime, kCalls, kStarted, kColumns };
constexpr double kMiB = 1 << 20;

config::v1::Config Settings() {
  config::v1::Config config;
  config.set_tick(1'000'000'000);
  config.mutable_detection()->set_warm_up(45'000'000'000);
  return config;
}

// A healthy service: little CPU, flat memory, ten switches a second, reads of 100 us.
struct Service {
  explicit Service(uint64_t seed, int slots = 1) : random(seed), slots(slots) {}
  FeatureTick Tick() {
    FeatureTick tick;
    tick.values.setZero(slots, kColumns);
    tick.present.setConstant(slots, kColumns, true);
    tick.born.setConstant(slots, false);
    tick.interval_seconds = 1.0;
    for (auto& d : tick.durations) d.setZero(kDurationBuckets, slots);
    std::normal_distribution<double> normal;
    for (int s = 0; s < slots; ++s) {
      tick.values.row(s) << 0.02 + 0.003 * std::abs(normal(random)), 0.002 * std::abs(normal(random)), 40 * kMiB, 4096,
          10 + std::round(normal(random)), 1, 3, 0, 100e-6, 0, 100, 10, 0;
      for (int n = 0; n < 10; ++n) tick.durations[0](15 + static_cast<int>(random() % 3), s) += 1;
    }
    return tick;
  }
  std::mt19937_64 random;
  int slots;
};

struct Strongest {
  int feature = -1;
  Channel channel = Channel::kLevel;
  double z = 0, p = 1, rate = 0;
};

Strongest StrongestOf(const ScoreTick& scores, int slot = 0) {
  Strongest out;
  for (const DetectorScores& d : scores.detectors) {
    if (std::abs(d.z(slot)) > std::abs(out.z)) out = {d.feature, d.channel, d.z(slot), d.tail_probability(slot), d.rate(slot)};
  }
  return out;
}

// Sixty healthy seconds, then `fault` for `seconds`; the strongest detector of the last tick.
Strongest After(int seconds, const std::function<void(FeatureTick*, int)>& fault) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(1);
  ScoreTick scores;
  for (int t = 0; t < 60; ++t) detectors->ScoreAndUpdate(service.Tick(), &scores);
  for (int t = 0; t < seconds; ++t) {
    FeatureTick tick = service.Tick();
    fault(&tick, t);
    detectors->ScoreAndUpdate(tick, &scores);
  }
  return StrongestOf(scores);
}

// Half an hour as ever, then six minutes of `fault`: what the detector of this feature and channel says of them in the end.
DetectorScores AfterMinutes(Column feature, Channel channel, const std::function<void(FeatureTick*)>& fault) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(1);
  ScoreTick scores;
  for (int t = 0; t < 2160; ++t) {
    FeatureTick tick = service.Tick();
    if (t >= 1800) fault(&tick);
    detectors->ScoreAndUpdate(tick, &scores);
  }
  for (const DetectorScores& d : scores.detectors) {
    if (d.feature == feature && d.channel == channel) return d;
  }
  return {};
}

TEST(Detectors, AThirdOfTheCallsSlowerForMinutesMovesTheMeanOfMinutesWhichIsToldInSeconds) {
  const DetectorScores slow = AfterMinutes(kDuration, Channel::kHeld, [](FeatureTick* tick) {
    for (int b = 15; b < 18; ++b) {
      const float moved = std::round(tick->durations[0](b, 0) / 3);
      tick->durations[0](b, 0) -= moved;
      tick->durations[0](b + 6, 0) += moved;
    }
  });
  EXPECT_GT(slow.z(0), 7);
  EXPECT_NEAR(slow.expected(0), 100e-6, 30e-6);
  const DetectorScores healthy = AfterMinutes(kDuration, Channel::kHeld, [](FeatureTick*) {});
  EXPECT_LT(std::abs(healthy.z(0)), 3);
}

TEST(Detectors, AFewFailuresThatGoOnAreUnusualByTheMinuteInNumberAndShareAndThoseOfMoreCallsInNumberOnly) {
  const auto fail = [](FeatureTick* tick) { tick->values(0, kErrors) = 2; };
  EXPECT_GT(AfterMinutes(kErrors, Channel::kHeld, fail).z(0), 7);
  EXPECT_GT(AfterMinutes(kErrors, Channel::kHeldShare, fail).z(0), 7);
  const auto busy = [](FeatureTick* tick) {
    tick->values(0, kErrors) = 2;
    tick->values(0, kCalls) = 100'000;
  };
  EXPECT_GT(AfterMinutes(kErrors, Channel::kHeld, busy).z(0), 7);
  EXPECT_LT(AfterMinutes(kErrors, Channel::kHeldShare, busy).z(0), 7);
}

// The two detectors of failed calls, the count's and that of its share, after a minute of one failure in fifty.
std::pair<double, double> OfFailures(double failures, double calls) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(1);
  ScoreTick scores;
  for (int t = 0; t < 600; ++t) {
    FeatureTick tick = service.Tick();
    tick.values(0, kCalls) = t < 599 ? 100 : calls;
    tick.values(0, kErrors) = t < 599 ? 2 : failures;
    detectors->ScoreAndUpdate(tick, &scores);
  }
  std::pair<double, double> z{0, 0};
  for (const DetectorScores& d : scores.detectors) {
    if (d.feature != kErrors) continue;
    if (d.channel == Channel::kCount) z.first = d.z(0);
    if (d.channel == Channel::kShare) z.second = d.z(0);
  }
  return z;
}

TEST(Detectors, ManyFailuresOfAsManyMoreCallsAreAnUnusualCountAndNoUnusualShare) {
  const auto [count, share] = OfFailures(40, 2000);
  EXPECT_GT(count, 6);
  EXPECT_LT(share, 3);
}

TEST(Detectors, ManyFailuresOfAsManyCallsAreUnusualAsBoth) {
  const auto [count, share] = OfFailures(40, 100);
  EXPECT_GT(count, 6);
  EXPECT_GT(share, 6);
}

TEST(Detectors, EveryLineNamesAModelAndWatchesItsKind) {
  std::set<std::string> names;
  for (int i = 0; i < models::kModelCount; ++i) names.insert(std::string(models::kModels[i].name));
  std::map<std::pair<FeatureKind, Channel>, int> expected;
  for (const DetectorLine& line : DetectorLines()) {
    EXPECT_TRUE(names.count(std::string(line.model))) << line.model;
    for (const FeatureSpec& spec : kSpecs) {
      if (IsShare(line.channel) && spec.syscall_class < 0) continue;  // starts are no share of any calls
      if (spec.kind == line.kind && (line.only.empty() || line.only == spec.attribute_value)) ++expected[{line.kind, line.channel}];
    }
  }
  auto detectors = Detectors::Make(Settings(), kSpecs);
  ScoreTick scores;
  detectors->ScoreAndUpdate(Service(1).Tick(), &scores);
  std::map<std::pair<FeatureKind, Channel>, int> found;
  for (const DetectorScores& d : scores.detectors) ++found[{kSpecs[d.feature].kind, d.channel}];
  EXPECT_EQ(found, expected);
}

TEST(Detectors, AHealthyServiceIsQuietForTenMinutes) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(2, 20);
  ScoreTick scores;
  for (int t = 0; t < 600; ++t) {
    detectors->ScoreAndUpdate(service.Tick(), &scores);
    for (int s = 0; s < 20; ++s) ASSERT_LT(std::abs(StrongestOf(scores, s).z), 6) << "tick " << t << " feature " << StrongestOf(scores, s).feature;
  }
}

TEST(Detectors, ABurntCoreIsToldByItsCpuBeforeItsSideEffects) {
  for (const int seconds : {1, 3, 10, 60}) {
    const Strongest s = After(seconds, [](FeatureTick* tick, int) {
      tick->values(0, kCpu) = 1.0;
      tick->values(0, kInvoluntary) = 150;
      tick->values(0, kRunDelay) = 0.3;
    });
    EXPECT_EQ(s.feature, kCpu) << seconds;
    EXPECT_GT(s.z, 10) << seconds;
  }
}

TEST(Detectors, LevelsAreJudgedFromHalfTheWarmUpOnAndSaidToBeWarmWhenItIsOver) {
  for (const int burns : {15, 30}) {
    auto detectors = Detectors::Make(Settings(), kSpecs);
    Service service(1);
    ScoreTick scores;
    for (int t = 0; t < 60; ++t) {
      FeatureTick tick = service.Tick();
      if (t == burns) tick.values(0, kCpu) = 1.0;
      detectors->ScoreAndUpdate(tick, &scores);
      ASSERT_EQ(scores.warm(0), t >= 45) << t;
      if (t == burns) EXPECT_EQ(StrongestOf(scores).z > 10, t == 30) << t;
    }
  }
}

TEST(Detectors, ALeakIsADriftOfMemoryAndItsRateIsInBytesPerSecond) {
  const Strongest s = After(25, [](FeatureTick* tick, int t) { tick->values(0, kMemory) += 5 * kMiB * t; });
  EXPECT_EQ(s.feature, kMemory);
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(1);
  ScoreTick scores;
  for (int t = 0; t < 85; ++t) {
    FeatureTick tick = service.Tick();
    tick.values(0, kMemory) += 5 * kMiB * std::max(0, t - 60);
    detectors->ScoreAndUpdate(tick, &scores);
  }
  for (const DetectorScores& d : scores.detectors) {
    if (d.channel != Channel::kDrift) continue;
    EXPECT_GT(d.z(0), 20);
    EXPECT_NEAR(d.rate(0), 5 * kMiB, 0.5 * kMiB);
    EXPECT_NEAR(d.expected(0), 40 * kMiB, 20 * kMiB);
  }
}

TEST(Detectors, MissingFilesAreToldAsErrors) {
  const Strongest s = After(5, [](FeatureTick* tick, int) { tick->values(0, kErrors) = 200; });
  EXPECT_EQ(s.feature, kErrors);
  EXPECT_GT(s.z, 15);
}

TEST(Detectors, ASlowFileSystemIsToldAsShape) {
  const Strongest s = After(6, [](FeatureTick* tick, int) {
    tick->durations[0].setZero();
    tick->durations[0](35, 0) = 10;
    tick->values(0, kVoluntary) = 8;
  });
  EXPECT_EQ(s.feature, kDuration);
  EXPECT_EQ(s.channel, Channel::kShape);
  EXPECT_GT(s.z, 15);
}

TEST(Detectors, AServiceThatStopsIsToldAsSilenceWithin12Seconds) {
  const Strongest s = After(12, [](FeatureTick* tick, int) {
    tick->values(0, kVoluntary) = 0;
    tick->values(0, kCpu) = 0;
    tick->values(0, kInvoluntary) = 0;
    tick->present(0, kDuration) = false;
  });
  EXPECT_EQ(s.channel, Channel::kSilence);
  EXPECT_LT(s.z, -6);
}

TEST(Detectors, RestartsAreToldFromTheFirstTick) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(3);
  ScoreTick scores;
  detectors->ScoreAndUpdate(service.Tick(), &scores);
  FeatureTick tick = service.Tick();
  tick.values(0, kRestarts) = 4;
  tick.values(0, kCpu) = 8;
  detectors->ScoreAndUpdate(tick, &scores);
  for (const DetectorScores& d : scores.detectors) {
    EXPECT_EQ(d.ready(0), d.feature == kRestarts);
    EXPECT_EQ(std::abs(d.z(0)) >= kNotable, d.feature == kRestarts);
    if (d.feature == kRestarts) {
      EXPECT_LT(d.tail_probability(0), 1e-3);
    }
  }
}

TEST(Detectors, BoundsAreInTheFeaturesOwnUnit) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(4);
  ScoreTick scores;
  for (int t = 0; t < 120; ++t) detectors->ScoreAndUpdate(service.Tick(), &scores);
  const double typical[] = {0.022, 0.0016, 40 * kMiB, 4096, 10, 1, 3, 0, 100e-6, 0, 100, 10, 0};
  FeatureTick tick = service.Tick();
  for (int f = 0; f < tick.values.cols(); ++f) tick.values(0, f) = 100 * (1 + tick.values(0, f));
  detectors->ScoreAndUpdate(tick, &scores);
  std::set<int> told;
  for (const DetectorScores& d : scores.detectors) {
    if (std::abs(d.z(0)) < kNotable) continue;
    told.insert(d.feature);
    const double x = typical[d.feature];
    EXPECT_LE(d.lower(0), x * 1.01) << d.feature;
    EXPECT_GE(d.upper(0), x * 0.99) << d.feature;
    if (x > 0) {
      EXPECT_NEAR(d.expected(0), x, 0.35 * x) << d.feature;
    }
  }
  EXPECT_GE(told.size(), 6u);
}

TEST(Detectors, ASlotBornAgainIsForgotten) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(5, 2);
  ScoreTick scores;
  for (int t = 0; t < 100; ++t) detectors->ScoreAndUpdate(service.Tick(), &scores);
  FeatureTick tick = service.Tick();
  tick.born(1) = true;
  tick.values(1, kCpu) = 4;
  detectors->ScoreAndUpdate(tick, &scores);
  for (const DetectorScores& d : scores.detectors) {
    if (kSpecs[d.feature].kind == FeatureKind::kFact) continue;
    EXPECT_FALSE(d.ready(1));
    EXPECT_EQ(d.z(1), 0);
  }
  EXPECT_TRUE(scores.detectors[0].ready(0));
}

// A service with a day, watched for ten of them once a minute; then nobody watches for six hours, in which its state is saved and loaded.
double WorstHeldAfterTheGap(bool knows_the_time) {
  constexpr int kDay = 1440, kLearned = 10 * kDay, kGap = 360;
  config::v1::Config config = Settings();
  config.set_tick(60'000'000'000);
  auto detectors = Detectors::Make(config, kSpecs);
  Service service(8);
  ScoreTick scores;
  double worst = 0;
  for (int t = 0; t < kLearned + kGap + 120; ++t) {
    if (t == kLearned) {
      std::string bytes;
      detectors->Save(&bytes);
      detectors = Detectors::Make(config, kSpecs);
      EXPECT_TRUE(detectors->Load(bytes));
    }
    if (t >= kLearned && t < kLearned + kGap) continue;
    FeatureTick tick = service.Tick();
    tick.values(0, kCpu) += 0.5 + 0.4 * std::sin(2 * M_PI * t / kDay);
    tick.interval_seconds = 60;
    if (knows_the_time) tick.wall_time_ns = 1'800'000'000'000'000'000 + t * 60'000'000'000;
    detectors->ScoreAndUpdate(tick, &scores);
    for (const DetectorScores& d : scores.detectors) {
      if (t >= kLearned && d.channel == Channel::kHeld && d.feature == kCpu) worst = std::max(worst, std::abs(static_cast<double>(d.z(0))));
    }
  }
  return worst;
}

TEST(Detectors, TheHourOfTheDayGoesOnWhileNobodyWatches) { EXPECT_LT(WorstHeldAfterTheGap(true), WorstHeldAfterTheGap(false) / 2); }

// A service that rests at weekends, on a host whose clock is set back by so many hours in the night after four weeks.
double WorstHeldAfterSettingBack(int hours) {
  constexpr int kDay = 1440, kLearned = 28 * kDay;
  config::v1::Config config = Settings();
  config.set_tick(60'000'000'000);
  auto detectors = Detectors::Make(config, kSpecs);
  Service service(8);
  ScoreTick scores;
  double worst = 0;
  for (int t = 0; t < kLearned + 7 * kDay; ++t) {
    const int wall = t < kLearned ? t : t - 60 * hours;
    FeatureTick tick = service.Tick();
    tick.values(0, kCpu) += wall / kDay % 7 < 5 ? 0.5 : 0.05;
    tick.interval_seconds = 60;
    tick.wall_time_ns = 1'800'000'000'000'000'000 + wall * 60'000'000'000;
    detectors->ScoreAndUpdate(tick, &scores);
    for (const DetectorScores& d : scores.detectors) {
      if (t >= kLearned + 180 && d.channel == Channel::kHeld && d.feature == kCpu) worst = std::max(worst, std::abs(static_cast<double>(d.z(0))));
    }
  }
  return worst;
}

TEST(Detectors, AClockThatIsSetBackKeepsTheDayOfTheWeek) {
  const double as_ever = WorstHeldAfterSettingBack(0);
  EXPECT_LT(WorstHeldAfterSettingBack(1), 1.3 * as_ever + 1.0);
}

TEST(Detectors, SaveAndLoadGoOnWithEqualBitsAndDamageIsRefused) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(6, 3);
  ScoreTick a, b;
  for (int t = 0; t < 100; ++t) detectors->ScoreAndUpdate(service.Tick(), &a);
  std::string bytes;
  detectors->Save(&bytes);
  auto restored = Detectors::Make(Settings(), kSpecs);
  ASSERT_TRUE(restored->Load(bytes));
  for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 200) EXPECT_FALSE(restored->Load(std::string_view(bytes).substr(0, n)));
  EXPECT_FALSE(restored->Load(bytes + "x"));
  for (int t = 0; t < 50; ++t) {
    FeatureTick tick = service.Tick();
    if (t > 20) tick.values(1, kCpu) = 1;
    detectors->ScoreAndUpdate(tick, &a);
    restored->ScoreAndUpdate(tick, &b);
    for (size_t d = 0; d < a.detectors.size(); ++d) {
      ASSERT_TRUE((a.detectors[d].z == b.detectors[d].z).all());
      const auto told = a.detectors[d].z.abs() >= static_cast<float>(kNotable);
      ASSERT_TRUE((!told || a.detectors[d].tail_probability == b.detectors[d].tail_probability).all());
      ASSERT_TRUE((!told || a.detectors[d].expected == b.detectors[d].expected).all());
    }
  }
  std::string one, two;
  detectors->Save(&one);
  restored->Save(&two);
  EXPECT_EQ(one, two);
}

TEST(Detectors, AFeatureThatNobodyHasEverHadIsIdleAndSomebodyWhoGetsItIsANewSeries) {
  auto late = Detectors::Make(Settings(), kSpecs), born = Detectors::Make(Settings(), kSpecs);
  Service service(8, 20);
  ScoreTick of_late, of_born;
  for (int t = 0; t < 300; ++t) {
    FeatureTick tick = service.Tick();
    tick.present.col(kErrors).setConstant(t >= 100);
    late->ScoreAndUpdate(tick, &of_late);
    for (const DetectorScores& d : of_late.detectors) {
      EXPECT_EQ(d.idle, d.feature == kErrors && t < 100);
      if (d.idle) EXPECT_TRUE((d.z == 0.0f).all());
    }
    if (t == 99) {  // as a daemon does that restarts, and so cannot know that nobody had it
      std::string bytes;
      late->Save(&bytes);
      ASSERT_TRUE(born->Load(bytes));
    }
    if (t < 100) continue;
    born->ScoreAndUpdate(tick, &of_born);
    for (size_t d = 0; d < of_late.detectors.size(); ++d) ASSERT_TRUE((of_late.detectors[d].z == of_born.detectors[d].z).all());
  }
}

TEST(Detectors, SayInWhichSlotsAnythingIsLoud) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  Service service(9, 21);  // the last group is not full
  ScoreTick scores;
  int loud = 0;
  for (int t = 0; t < 200; ++t) {
    FeatureTick tick = service.Tick();
    if (t > 150) tick.values(20, kCpu) = 1;
    detectors->ScoreAndUpdate(tick, &scores);
    for (const DetectorScores& d : scores.detectors) {
      for (int slot = 0; slot < 21 && !d.idle; slot += kLoudSlots) {
        const bool any = (d.z.segment(slot, std::min(kLoudSlots, 21 - slot)).abs() >= static_cast<float>(kLoud)).any();
        ASSERT_EQ(d.loud[slot / kLoudSlots] != 0, any);
        loud += any;
      }
    }
  }
  EXPECT_GT(loud, 0);
}

TEST(Detectors, ATickWithFewerSlotsThanKnownLeavesTheOthersAbsent) {
  auto detectors = Detectors::Make(Settings(), kSpecs);
  detectors->Resize(5);
  ScoreTick scores;
  detectors->ScoreAndUpdate(Service(7, 2).Tick(), &scores);
  for (const DetectorScores& d : scores.detectors) EXPECT_EQ(d.z.size(), 5);
}

TEST(Transforms, InvertThemselves) {
  for (const FeatureSpec& spec : kSpecs) {
    const Transform t = PriorOf(spec, "robust_level").transform;
    for (const double x : {0.0, 1e-3, 1.0, 1e3, 1e9}) {
      EXPECT_NEAR(t.Inverse(t.Forward(x, 0.7), 0.7), x, 1e-9 * (1 + x)) << spec.signal;
      EXPECT_LE(t.Forward(x, 1), t.Forward(x * 1.1, 1)) << spec.signal;
    }
  }
}

}  // namespace
}  // namespace outlier
