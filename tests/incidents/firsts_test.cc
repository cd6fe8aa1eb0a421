// How far what workloads do for the first time goes on this host, and of whom that says something.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/incidents/recurrences_fixture.h"

namespace outlier {
namespace {

// Forty known workloads depart in one layer of evidence for the first time, as far as the quantiles of an exponential law of marks with this mean.
class FirstsOfKnownWorkloads : public RecurrencesTest {
 protected:
  static constexpr size_t kMany = 40;
  static GroupStrengths In(EvidenceLayer layer, double strength, bool up = true) {
    GroupStrengths now;
    now.strength[static_cast<size_t>(layer) * kEvidenceGroups] = strength;
    now.up[static_cast<size_t>(layer) * kEvidenceGroups] = up;
    return now;
  }
  void AllDepart(EvidenceLayer layer, double mean, bool up = true, double age_seconds = 2 * 86400) {
    recurrences_ = {};
    recurrences_.Resize(kMany + 1);
    for (size_t slot = 0; slot <= kMany; ++slot) recurrences_.Forget(slot, now_ns_);
    Calm(age_seconds);
    for (size_t slot = 1; slot <= kMany; ++slot) {
      const double mark = -mean * std::log((kMany - static_cast<double>(slot) + 0.5) / kMany);
      Tick(In(layer, 0.351 * std::exp(mark), up), 1, slot);
      for (int s = 0; s < 20; ++s) Tick({}, 1, slot);
    }
  }
  double OfTheNext(EvidenceLayer layer, bool up = true) { return recurrences_.PerWeek(0, In(layer, 0.9, up), counts_, now_ns_); }
};

TEST_F(FirstsOfKnownWorkloads, WhereTheyGoFurtherTheNextHasToGoFurther) {
  for (const EvidenceLayer layer : {EvidenceLayer::kSudden, EvidenceLayer::kHeld, EvidenceLayer::kRecord}) {
    AllDepart(layer, 0.05);
    const double calm = OfTheNext(layer);
    AllDepart(layer, 0.2);
    EXPECT_GT(OfTheNext(layer), 10 * calm);
  }
}

TEST_F(FirstsOfKnownWorkloads, AreAsCommonAsTheyWereSeenToBe) {
  AllDepart(EvidenceLayer::kSudden, 0.4);  // three of them reach as far as the next, in two days
  EXPECT_GT(OfTheNext(EvidenceLayer::kSudden), 3);
  EXPECT_LT(OfTheNext(EvidenceLayer::kSudden), 30);
}

TEST_F(FirstsOfKnownWorkloads, SayNothingOfOtherLayersOfEvidence) {
  AllDepart(EvidenceLayer::kHeld, 0.05);
  const double before = OfTheNext(EvidenceLayer::kSudden);
  AllDepart(EvidenceLayer::kHeld, 0.2);
  EXPECT_NEAR(OfTheNext(EvidenceLayer::kSudden), before, 0.5 * before);
}

// What falls to nothing falls far on the scale on which it is judged.
TEST_F(FirstsOfKnownWorkloads, SayNothingOfTheOtherDirection) {
  for (const EvidenceLayer layer : {EvidenceLayer::kSudden, EvidenceLayer::kHeld, EvidenceLayer::kRecord}) {
    AllDepart(layer, 0.05, false);
    const double before = OfTheNext(layer);
    AllDepart(layer, 0.2, false);
    EXPECT_NEAR(OfTheNext(layer), before, 0.5 * before);
  }
}

// How near to nothing levels come on this host shows in its first day; what new workloads begin with does not say what known ones begin with.
TEST_F(FirstsOfKnownWorkloads, FallAsTheyDidWhenTheyWereNewAndRiseOtherwise) {
  constexpr double kAnHourAndMore = 4000, kMinutes = 600;
  const auto next = [&](double mean, bool up, double age_seconds) {
    AllDepart(EvidenceLayer::kSudden, mean, up, age_seconds);
    Calm(2 * 86400);
    return OfTheNext(EvidenceLayer::kSudden, up);
  };
  EXPECT_GT(next(0.2, false, kAnHourAndMore), 10 * next(0.05, false, kAnHourAndMore));
  EXPECT_NEAR(next(0.2, true, kAnHourAndMore), next(0.05, true, kAnHourAndMore), 1e-9) << "rises";
  EXPECT_NEAR(next(0.2, false, kMinutes), next(0.05, false, kMinutes), 1e-9) << "the end of a start";
}

TEST_F(FirstsOfKnownWorkloads, NewOnesFallAsOthersDid) {
  constexpr double kAnHourAndMore = 4000;
  agree_ = false;  // so that it does not say what new ones do
  AllDepart(EvidenceLayer::kSudden, 0.05, false, kAnHourAndMore);
  const double calm = OfTheNext(EvidenceLayer::kSudden, false);
  AllDepart(EvidenceLayer::kSudden, 0.4, false, kAnHourAndMore);
  EXPECT_GT(OfTheNext(EvidenceLayer::kSudden, false), 3 * calm);
}

}  // namespace
}  // namespace outlier
