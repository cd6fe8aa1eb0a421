#include "userspace/incidents/onset.h"

#include <algorithm>
#include <cmath>

namespace outlier {
namespace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int StepOnset(const Recent& recent, double expected) {
  std::vector<double> newest;
  for (const auto& value : recent) {
    if (value && newest.size() < 5) newest.push_back(*value);
  }
  const double now = Median(newest);
  const double middle = 0.5 * (now + expected);
  const bool up = now > expected;
  int onset = 0, stragglers = 0;
  for (int age = 0; age < static_cast<int>(recent.size()); ++age) {
    if (!recent[age]) continue;
    const bool departed = up ? *recent[age] > middle : *recent[age] < middle;
    if (departed) {
      onset = age;
      stragglers = 0;
    } else if (++stragglers > 1) {
      break;
    }
  }
  return onset;
}

Growth GrowthOf(const Recent& recent, double expected) {
  Growth growth;
  // The run of ticks, newest first, in which the series lies above what was expected.
  std::vector<double> run;
  std::vector<int> ages;
  for (int age = 0; age < static_cast<int>(recent.size()); ++age) {
    if (!recent[age]) continue;
    run.push_back(*recent[age]);
    ages.push_back(age);
    if (*recent[age] <= expected) break;
  }
  if (run.size() < 3) return growth;
  std::vector<double> slopes;
  for (size_t i = 0; i < run.size(); ++i) {
    for (size_t j = i + 1; j < run.size(); ++j) slopes.push_back((run[i] - run[j]) / (ages[j] - ages[i]));
  }
  growth.per_tick = Median(std::move(slopes));
  int rising = 0;
  double largest = 0;
  for (size_t i = 0; i + 1 < run.size(); ++i) {
    rising += run[i] > run[i + 1];
    largest = std::max(largest, run[i] - run[i + 1]);
  }
  growth.share_rising = static_cast<double>(rising) / (run.size() - 1);
  const double whole = run.front() - run.back();
  growth.largest_jump = whole > 0 ? largest / whole : 1.0;
  growth.onset = ages.back();
  if (growth.per_tick > 0) {
    const double back = (run.front() - expected) / growth.per_tick;
    growth.onset = static_cast<int>(std::min<double>(back, 86400));
  }
  return growth;
}

bool IsDrift(const Growth& growth, int ticks) {
  // Four rises in five, and no single one that makes a third of it, cannot be told from a staircase in less than six ticks.
  return ticks >= 6 && growth.per_tick > 0 && growth.share_rising >= 0.7 && growth.largest_jump <= 0.34;
}

int SilenceOnset(const Recent& recent, double expected) {
  for (int age = 0; age < static_cast<int>(recent.size()); ++age) {
    if (recent[age] && *recent[age] > 0.1 * expected) return std::max(age - 1, 0);
  }
  return std::max<int>(static_cast<int>(recent.size()) - 1, 0);
}

}  // namespace outlier
