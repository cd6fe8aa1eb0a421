// What is kept of an open incident, and how bad it is said to be.
#include "userspace/incidents/open_incident.h"

#include <gtest/gtest.h>

#include <cmath>

namespace outlier {
namespace {

constexpr double kWeekSeconds = 7 * 86400.0;

// P(X >= count) of a Poisson variable, term by term, in long double.
double PoissonTail(uint32_t count, double mean) {
  long double sum = 0;
  for (uint32_t k = count; k < count + 400; ++k) sum += std::exp(k * std::log(static_cast<long double>(mean)) - mean - std::lgamma(static_cast<long double>(k) + 1));
  return static_cast<double>(sum);
}

TEST(RestartTailProbability, EqualsTheSumOfThePoissonTail) {
  for (const double window : {1.0, 60.0, 3600.0, 86400.0, kWeekSeconds, 5 * kWeekSeconds}) {
    for (uint32_t count = 1; count <= 30; ++count) {
      const double truth = std::max(PoissonTail(count, window / kWeekSeconds), 1e-300);
      EXPECT_NEAR(RestartTailProbability(count, window) / truth, 1, 1e-9) << count << " in " << window << " s";
    }
  }
}

TEST(RestartTailProbability, OfOneIsTheChanceOfAnyAndOfNoneIsCertain) {
  for (const double window : {1.0, 3600.0, kWeekSeconds}) {
    EXPECT_NEAR(RestartTailProbability(1, window) / -std::expm1(-window / kWeekSeconds), 1, 1e-12);
    EXPECT_EQ(RestartTailProbability(0, window), 1);
  }
}

TEST(RestartTailProbability, FallsWithTheCountAndIsNeverZero) {
  double last = 1;
  for (uint32_t count = 1; count < 5000; ++count) {
    const double p = RestartTailProbability(count, 3600);
    ASSERT_GT(p, 0) << count;
    ASSERT_LE(p, last) << count;
    last = p;
  }
}

TEST(ScoreOf, AStrengthGrowsFromNothingToAHundred) {
  EXPECT_EQ(ScoreOf(0.0), 0);
  EXPECT_NEAR(ScoreOf(1.0), 39, 0.5);
  EXPECT_NEAR(ScoreOf(2.0), 63, 0.5);
  EXPECT_NEAR(ScoreOf(3.0), 78, 0.5);
  for (double strength = 0; strength < 20; strength += 0.1) {
    EXPECT_LT(ScoreOf(strength), ScoreOf(strength + 0.1));
    EXPECT_LE(ScoreOf(strength), 100);
  }
}

TEST(SeverityOf, HasItsBandsAtTwentyFiveFiftyAndSeventyFive) {
  const std::pair<double, v1::Incident::Severity> edges[] = {{25, v1::Incident::MINOR}, {50, v1::Incident::MAJOR}, {75, v1::Incident::CRITICAL}};
  v1::Incident::Severity below = v1::Incident::WARNING;
  EXPECT_EQ(SeverityOf(0), below);
  for (const auto& [edge, severity] : edges) {
    EXPECT_EQ(SeverityOf(std::nextafter(edge, 0)), below);
    EXPECT_EQ(SeverityOf(edge), severity);
    below = severity;
  }
  EXPECT_EQ(SeverityOf(100), v1::Incident::CRITICAL);
}

TEST(SeverityOf, OfARestartFollowsItsCause) {
  const std::pair<v1::Restart::Cause, v1::Incident::Severity> causes[] = {
      {v1::Restart::CRASH_LOOP, v1::Incident::CRITICAL},      {v1::Restart::OUT_OF_MEMORY, v1::Incident::MAJOR},
      {v1::Restart::CHILD_OUT_OF_MEMORY, v1::Incident::MAJOR}, {v1::Restart::CRASH, v1::Incident::MAJOR},
      {v1::Restart::KILLED, v1::Incident::MINOR},             {v1::Restart::ROLLOUT, v1::Incident::WARNING},
      {v1::Restart::EXITED, v1::Incident::WARNING},
  };
  for (const auto& [cause, severity] : causes) {
    v1::Restart restart;
    restart.set_cause(cause);
    EXPECT_EQ(SeverityOf(ScoreOf(restart)), severity) << v1::Restart::Cause_Name(cause);
  }
}

Peak MakePeak(Channel channel, double z, double rate = 0, int feature = 0) {
  Peak peak;
  peak.feature = feature;
  peak.channel = channel;
  peak.z = z;
  peak.observed = 100 * z;
  peak.rate = rate;
  return peak;
}
Peak After(std::initializer_list<Peak> told) {
  std::vector<Peak> peaks;
  for (const Peak& peak : told) RememberPeak(peak, &peaks);
  EXPECT_EQ(peaks.size(), 1u);
  return peaks.front();
}

TEST(RememberPeak, KeepsTheLargestDepartureInTheDirectionTheFeatureFirstTook) {
  EXPECT_EQ(After({MakePeak(Channel::kLevel, 5), MakePeak(Channel::kLevel, 9), MakePeak(Channel::kLevel, 7)}).observed, 900);
  EXPECT_EQ(After({MakePeak(Channel::kLevel, -5), MakePeak(Channel::kLevel, -9), MakePeak(Channel::kLevel, -7)}).observed, -900);
  EXPECT_EQ(After({MakePeak(Channel::kLevel, 5), MakePeak(Channel::kLevel, -9), MakePeak(Channel::kLevel, 8)}).observed, 800);
}

TEST(RememberPeak, KeepsFeaturesApart) {
  std::vector<Peak> peaks;
  for (const int feature : {3, 1, 3, 2}) RememberPeak(MakePeak(Channel::kLevel, 5, 0, feature), &peaks);
  EXPECT_EQ(peaks.size(), 3u);
}

TEST(RememberPeak, TheChannelThatExplainsStaysWhenTheLevelGoesFarther) {
  for (const Channel explains : {Channel::kDrift, Channel::kSilence}) {
    const Peak peak = After({MakePeak(explains, 8, 2.5), MakePeak(Channel::kLevel, 12)});
    EXPECT_EQ(peak.channel, explains);
    EXPECT_EQ(peak.observed, 1200) << "the numbers are those of the peak";
    EXPECT_EQ(peak.rate, 2.5) << "and the growth that of the drift";
  }
}

TEST(RememberPeak, TheChannelThatExplainsTakesOverALevelThatWentFarther) {
  for (const Channel explains : {Channel::kDrift, Channel::kSilence}) {
    const Peak peak = After({MakePeak(Channel::kLevel, 12), MakePeak(explains, 8, 2.5)});
    EXPECT_EQ(peak.channel, explains);
    EXPECT_EQ(peak.observed, 1200);
    EXPECT_EQ(peak.rate, 2.5);
  }
}

TEST(RememberPeak, WhatPointsTheOtherWayExplainsNothing) {
  const Peak drift = After({MakePeak(Channel::kDrift, 8, 2.5), MakePeak(Channel::kLevel, -12)});
  EXPECT_EQ(drift.channel, Channel::kDrift);
  EXPECT_EQ(drift.observed, 800);
  const Peak level = After({MakePeak(Channel::kLevel, -12), MakePeak(Channel::kDrift, 8, 2.5)});
  EXPECT_EQ(level.channel, Channel::kLevel);
  EXPECT_EQ(level.rate, 0);
}

TEST(RememberPeak, OneChannelThatExplainsReplacesTheOtherOnlyIfItIsLarger) {
  EXPECT_EQ(After({MakePeak(Channel::kSilence, 8), MakePeak(Channel::kDrift, 9, 1)}).channel, Channel::kDrift);
  EXPECT_EQ(After({MakePeak(Channel::kSilence, 9), MakePeak(Channel::kDrift, 8, 1)}).channel, Channel::kSilence);
}

TEST(SetTime, SplitsNanosecondsIntoSecondsAndTheRest) {
  google::protobuf::Timestamp time;
  SetTime(1'700'000'000'123'456'789, &time);
  EXPECT_EQ(time.seconds(), 1'700'000'000);
  EXPECT_EQ(time.nanos(), 123'456'789);
}

}  // namespace
}  // namespace outlier
