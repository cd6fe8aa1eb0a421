#include "tests/quality/worlds.h"

#include <cmath>

namespace outlier::quality {
namespace {

constexpr double kDay = 86400, kHour = 3600;
constexpr double kWarmUp = 300;            // seconds in which a new process' memory comes near its level
constexpr int kDailyJobWorkloads = 40;     // one in so many has a daily job

struct Names {
  std::string_view name, word;
};
constexpr Names kNames[kWorlds] = {
    {"heavy tails", "HeavyTails"}, {"autocorrelation", "Autocorrelation"}, {"daily cycle", "DailyCycle"}, {"bursts", "Bursts"},
    {"sparse counts", "SparseCounts"}, {"flat", "Flat"}, {"latencies", "Latencies"}, {"periodic jobs", "PeriodicJobs"},
    {"daily jobs", "DailyJobs"}, {"saw-tooth", "SawTooth"}, {"rollouts", "Rollouts"}, {"regimes", "Regimes"},
    {"compaction", "Compaction"}, {"mixture", "Mixture"}};

double UntilRelease(double t, Random* random) { return t + random->Between(2 * kHour, 10 * kHour); }

// Passes through 1 at midnight, so that a week-end begins without a step.
double DailyLoad(double days) {
  const double wave = std::sin(2 * M_PI * days);
  const bool weekend = static_cast<int64_t>(std::floor(days)) % 7 >= 5;
  return 1 + 0.4 * wave * (weekend && wave > 0 ? 0.4 : 1.0);
}

}  // namespace

std::string_view NameOf(World world) { return kNames[static_cast<int>(world)].name; }
std::string_view WordOf(World world) { return kNames[static_cast<int>(world)].word; }

Activity::Activity(World world, int workloads, Random* random)
    : world_(world), of_(static_cast<size_t>(workloads)), load_(of_.size(), 1.0), memory_(of_.size(), 1.0) {
  for (size_t i = 0; i < of_.size(); ++i) {
    OfWorkload& w = of_[i];
    w.phase = random->Uniform();
    w.started = -static_cast<int64_t>(random->Between(kDay / 4, 30 * kDay));
    switch (world_) {
      case World::kPeriodicJobs:
        w.period = i % 2 == 0 ? 300 : 3600;
        w.length = i % 2 == 0 ? 20 : 60;
        w.factor = 10;
        break;
      case World::kDailyJobs:
        if (i % kDailyJobWorkloads != 0) break;
        w.period = static_cast<uint64_t>(kDay);
        w.length = 600;
        w.factor = 5;
        break;
      case World::kSawTooth: w.period = static_cast<uint64_t>(random->Scattered(20, 2 * kHour)); break;
      case World::kRollouts: w.until = UntilRelease(-2 * kHour, random); break;
      case World::kRegimes:
        w.mean_on = w.mean_off = random->Scattered(60, kHour);
        w.factor = random->Scattered(2, 8);
        w.on = random->Bits() % 2 == 0;
        break;
      case World::kCompaction:
        w.mean_off = random->Scattered(300, 2 * kHour);
        w.mean_on = random->Between(30, 180);
        w.factor = random->Scattered(4, 16);
        break;
      default: break;
    }
    if (w.mean_off > 0) w.until = random->Exponential(w.on ? w.mean_on : w.mean_off);
  }
}

void Activity::Switch(OfWorkload* w, double t, Random* random) {
  w->on = !w->on;
  w->until = t + random->Exponential(w->on ? w->mean_on : w->mean_off);
}

void Activity::Next(uint64_t tick, Random* random) {
  const double t = static_cast<double>(tick);
  released_.clear();
  for (size_t i = 0; i < of_.size(); ++i) {
    OfWorkload& w = of_[i];
    double load = 1, memory = 1;
    switch (world_) {
      case World::kDailyCycle: load = DailyLoad(t / kDay + 7 * w.phase); break;
      case World::kPeriodicJobs:
      case World::kDailyJobs: {
        if (w.period == 0) break;
        const uint64_t at = tick + static_cast<uint64_t>(w.phase * static_cast<double>(w.period));
        if (at % w.period < w.length && !(w.halved && at / w.period % 2 == 1)) load = w.factor;
        break;
      }
      case World::kSawTooth: memory = 1 + std::fmod(t / static_cast<double>(w.period) + w.phase, 1.0); break;
      case World::kRollouts:
        if (t < w.until) break;
        w.until = UntilRelease(t, random);
        w.started = static_cast<int64_t>(tick);
        released_.push_back(static_cast<int>(i));
        break;
      case World::kRegimes:
      case World::kCompaction:
        if (t >= w.until) Switch(&w, t, random);
        if (w.on) load = w.factor;
        if (w.on && world_ == World::kCompaction) memory = 1.3;
        break;
      default: break;
    }
    const double age = t - static_cast<double>(w.started);
    if (age < 20 * kWarmUp) memory *= 1 - 0.5 * std::exp(-age / kWarmUp);
    load_[i] = load;
    memory_[i] = memory;
  }
}

double Activity::LoadSpread(int workload) const {
  const OfWorkload& w = of_[static_cast<size_t>(workload)];
  if (w.mean_off <= 0) return 0.0;
  const double share_on = w.mean_on / (w.mean_on + w.mean_off);
  return std::sqrt(share_on * (1 - share_on)) * (w.factor - 1);
}

}  // namespace outlier::quality
