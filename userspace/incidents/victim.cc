#include "userspace/incidents/victim.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace outlier {
namespace {

constexpr size_t kSince = 5, kBefore = 30, kLeastBefore = 15;  // values
constexpr double kTimes = 1.5, kMore = 0.05;

double OneIn(size_t before, size_t since) {
  const auto n = static_cast<double>(before), m = static_cast<double>(since);
  return std::exp(std::lgamma(n + 1.0) + std::lgamma(m + 1.0) - std::lgamma(n + m + 1.0));
}

// The normal deviate that is exceeded with a small probability, to a hundredth: the leading terms of its tail (Mills 1926).
double DeviateOf(double probability) {
  const double twice = -2.0 * std::log(probability);
  return std::sqrt(twice) - std::log(2.0 * std::numbers::pi * twice) / (2.0 * std::sqrt(twice));
}

}  // namespace

std::optional<Peak> WaitsSince(const History& history, int slot, int feature, uint64_t onset_ns) {
  std::vector<double> since, before;
  for (int age = 0; age < history.length() && before.size() < kBefore; ++age) {
    const std::optional<double> value = history.Value(slot, feature, age);
    if (!value) continue;
    if (history.BootTime(age) > onset_ns) {
      if (since.size() < kSince) since.push_back(*value);
    } else {
      before.push_back(*value);
    }
  }
  if (since.size() < kSince || before.size() < kLeastBefore) return std::nullopt;
  const double least = *std::min_element(since.begin(), since.end());
  std::sort(before.begin(), before.end());
  if (least < kTimes * before.back() || least < before.back() + kMore) return std::nullopt;
  Peak peak;
  peak.feature = feature;
  peak.observed = since.front();
  peak.expected = before[before.size() / 2];
  peak.lower = before.front();
  peak.upper = before.back();
  peak.tail_probability = OneIn(before.size(), since.size());
  peak.z = DeviateOf(peak.tail_probability);
  return peak;
}

}  // namespace outlier
